"""Number of significant bits."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["bit_length"]


def bit_length(x: ArrayLike) -> NDArray[np.int64]:
    """Count the bits of `x` without leading zeros; 0 for 0.

    x : integers [...], 0 .. 2**63 - 1
    """
    rest = np.asarray(x, dtype=np.int64)
    length = np.zeros_like(rest)
    for step in (32, 16, 8, 4, 2, 1):
        large = (rest >> step) > 0
        length += large * np.int64(step)
        rest = np.where(large, rest >> step, rest)
    return length + (rest > 0)
