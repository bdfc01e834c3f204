"""LayerNorm of the residual stream by a model's tensors."""

import numpy as np
from numpy.typing import NDArray

from golden_model.units.layer_norm import layer_norm
from spec.model_file import Model

__all__ = ["norm"]


def norm(model: Model, name: str, h: NDArray[np.int16]) -> NDArray[np.int8]:
    """Normalise rows.

    h : RESIDUAL [..., embed_dim]
    result : ACT [..., embed_dim]
    """
    gain, offset = model[f"{name}.gain"], model[f"{name}.offset"]
    shift, epsilon = int(model[f"{name}.shift"][0]), int(model[f"{name}.epsilon"][0])
    return layer_norm(h, gain, offset, shift, epsilon).astype(np.int8)
