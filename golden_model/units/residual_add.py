"""Saturating addition to the residual stream."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spec.formats import RESIDUAL

__all__ = ["residual_add"]


def residual_add(h: ArrayLike, delta: ArrayLike) -> NDArray[np.int64]:
    """`clip(h + delta)` to RESIDUAL.

    h : RESIDUAL [...]
    delta : RESIDUAL [...], a requantized result in the same scale
    """
    return np.clip(np.add(h, delta, dtype=np.int64), RESIDUAL.low, RESIDUAL.high)
