"""How alike two representations are: what a block's attention changes (PIVOT's path score)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize.errors import QuantizeError
from quantize.float_forward import float_forward
from quantize.float_model import FloatModel

__all__ = ["attention_similarity", "best_path", "linear_cka"]


def linear_cka(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Centred kernel alignment with the linear kernel (Kornblith et al. 2019, eq. 3 to 5).

    x, y : [n, ...], the features of the same n examples; not the same for all of them
    result : 0..1; 1 for representations that differ by a rotation and a scale
    """
    grams = []
    for features in (x, y):
        rows = features.reshape(len(features), -1).astype(np.float64)
        rows -= rows.mean(axis=0)
        grams.append(rows @ rows.T)
    one, two = grams
    norms = np.linalg.norm(one) * np.linalg.norm(two)
    if not norms:
        raise QuantizeError("similarity: all examples have the same features")
    return float((one * two).sum() / norms)


def attention_similarity(model: FloatModel, images: NDArray[np.uint8]) -> list[float]:
    """For each encoder block, the CKA of its input and of its input + attention.

    An example is an image, with the rows of all its tokens as features; all blocks attend. PIVOT
    skips where it is largest: there, attention changes least.

    images : uint8 [n, height, width] or [n, channels, height, width], at least 2
    """
    if model.config.stages:
        raise QuantizeError("similarity: a model with stages has other tokens in each block")
    if len(images) < 2:
        raise QuantizeError(f"similarity: needs at least 2 images, not {len(images)}")
    whole = replace(model, config=replace(model.config, efforts=()))
    found: list[float] = []
    before: list[NDArray[Any]] = []

    def watch(name: str, array: NDArray[Any]) -> None:
        if name.endswith("attn.proj"):
            found.append(linear_cka(before[0], array))
        elif name == "patch_embed" or name.endswith("mlp.fc2"):
            before[:] = [array]

    float_forward(whole, images, watch)
    return found


def best_path(similarity: Sequence[float], active: int) -> tuple[int, ...]:
    """The blocks to skip for `active` attentions, ascending: those where they change least.

    Of all paths of that length it has the largest sum of similarities. The first of equals is
    skipped.
    """
    depth = len(similarity)
    if not 1 <= active <= depth:
        raise QuantizeError(f"active attentions must be 1..{depth}, not {active}")
    ranked = sorted(range(depth), key=lambda block: -similarity[block])
    return tuple(sorted(ranked[: depth - active]))
