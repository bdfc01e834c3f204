"""Bicubic resampling with antialiasing, as PIL and torch do it."""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["resampled"]

SHARPNESS = -0.5
SUPPORT = 2.0


def resampled(grid: NDArray[np.floating | np.integer], size: int) -> NDArray[np.float64]:
    """Bring a grid [rows, columns, channels] to [size, size, channels]."""
    rows, columns = (_matrix(length, size) for length in grid.shape[:2])
    return np.einsum("ir,rcd,jc->ijd", rows, grid.astype(np.float64), columns, optimize=True)


def _matrix(length: int, size: int) -> NDArray[np.float64]:
    """Weights [size, length]; each row sums to 1."""
    scale = length / size
    stretch = max(scale, 1.0)
    weights = np.zeros((size, length))
    for row in range(size):
        centre = (row + 0.5) * scale
        low = max(math.floor(centre - SUPPORT * stretch + 0.5), 0)
        high = min(math.floor(centre + SUPPORT * stretch + 0.5), length)
        taps = _cubic(np.abs((np.arange(low, high) + 0.5 - centre) / stretch))
        weights[row, low:high] = taps / taps.sum()
    return weights


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    near = ((SHARPNESS + 2) * x - (SHARPNESS + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * SHARPNESS - 4 * SHARPNESS
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
