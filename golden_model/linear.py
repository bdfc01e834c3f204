"""The fully connected layer: matrix product, bias, requantization."""

import numpy as np
from numpy.typing import NDArray

from golden_model.units.matmul import matmul_exact
from golden_model.units.requantize import requantize
from spec.model_file import Model

__all__ = ["linear"]


def linear(
    model: Model, name: str, x: NDArray[np.integer], low: int, high: int
) -> NDArray[np.int64]:
    """Requantize `x @ weight + bias` by output channel, to low .. high.

    x : SCALAR [..., inputs]
    result : [..., outputs]
    """
    acc = matmul_exact(x.reshape(-1, x.shape[-1]), model[f"{name}.weight"])
    bias, multiplier, shift = (model[f"{name}.{kind}"] for kind in ("bias", "mult", "shift"))
    return requantize(acc, bias, multiplier, shift, low, high).reshape(*x.shape[:-1], -1)
