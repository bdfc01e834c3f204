"""Integer square root, digit by digit."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spec.formats import NORM

__all__ = ["isqrt"]


def isqrt(v: ArrayLike) -> NDArray[np.int64]:
    """Take the exact floor of the square root.

    v : uint32 [...]
    result : uint16 [...]
    """
    rest = np.array(v, dtype=np.int64)
    root = np.zeros_like(rest)
    for bit in range(NORM.root_bits - 1, -1, -1):
        trial = ((root << 1) + (1 << bit)) << bit
        fits = trial <= rest
        rest -= np.where(fits, trial, 0)
        root += fits * np.int64(1 << bit)
    return root
