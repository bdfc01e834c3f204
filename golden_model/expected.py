"""What the machine must make of one picture."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.vit import vit
from spec.model_file import Model

__all__ = ["expected_tensors"]

UNSEEN = (".selector.score", ".selector.kept")
"""Tensors that no instruction writes: they stay in the token selector."""
IN_LIST_ORDER = (".attn.logits", ".attn.probs")
"""Tensors of a masked block that instructions write in the order of its lists."""


def expected_tensors(
    model: Model, image: NDArray[np.uint8]
) -> tuple[NDArray[np.int16], dict[str, NDArray[Any]]]:
    """Logits and every intermediate tensor that instructions write, for one picture.

    Of efforts only those that it takes.

    image : uint8 [height, width] or [channels, height, width]
    """
    tensors: dict[str, NDArray[Any]] = {}

    def collect(name: str, array: NDArray[Any]) -> None:
        block = name.split(".")[-3] if name.endswith(IN_LIST_ORDER) else ""
        if not (name.endswith(UNSEEN) or (block and model.config.masked(int(block)))):
            tensors[name] = array[0]

    return vit(model, image[None], collect)[0], tensors
