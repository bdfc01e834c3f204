"""Reciprocal of a normalised 16-bit number."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spec.formats import SOFTMAX

__all__ = ["reciprocal"]


def reciprocal(n: ArrayLike) -> NDArray[np.int64]:
    """`min(floor(2**31 / n), 65535)`.

    n : uint16 [...], normalised: 2**15 .. 2**16 - 1
    result : uint16 [...], in 2**15 .. 2**16 - 1

    Worst relative error against 2**31 / n over all inputs: 2**-15.
    """
    high = (1 << SOFTMAX.reciprocal_bits) - 1
    return np.minimum((1 << 2 * SOFTMAX.reciprocal_bits - 1) // np.asarray(n, np.int64), high)
