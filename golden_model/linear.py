"""The fully connected layer: matrix product, bias, requantization."""

import numpy as np
from numpy.typing import NDArray

from golden_model.units.matmul import matmul_exact
from golden_model.units.requantize import requantize
from golden_model.units.threshold import threshold
from spec.model_file import Model

__all__ = ["linear"]


def linear(
    model: Model, name: str, x: NDArray[np.integer], low: int, high: int, limit: int = 0
) -> NDArray[np.int64]:
    """Requantize `x @ weight + bias` by output channel, to low .. high.

    x : SCALAR [..., inputs]
    limit : magnitude up to which results become 0
    result : [..., outputs]
    """
    acc = matmul_exact(x.reshape(-1, x.shape[-1]), model[f"{name}.weight"])
    bias, multiplier, shift = (model[f"{name}.{kind}"] for kind in ("bias", "mult", "shift"))
    out = threshold(requantize(acc, bias, multiplier, shift, low, high), limit)
    return out.reshape(*x.shape[:-1], -1)
