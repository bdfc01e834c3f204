"""The one rescaling rule: add, multiply, round half up, shift, clip."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["requantize"]


def requantize(
    x: ArrayLike,
    addend: ArrayLike,
    multiplier: ArrayLike,
    shift: ArrayLike,
    low: int,
    high: int,
) -> NDArray[np.int64]:
    """`clip(((x + addend) * multiplier + ((1 << shift) >> 1)) >> shift, low, high)`.

    The shift is arithmetic (floor), so halves round up. All arrays broadcast.

    x : ACC [...]
    addend : int32
    multiplier : uint16, usually in 2**15 .. 2**16 - 1; 0 gives 0
    shift : 0 .. 48
    low, high : the result's range

    The product has at most 49 bits. Against the real `(x + addend) * m`, with m rounded to
    `multiplier * 2**-shift`, the relative error of m is at most 2**-16 and that of the rounding
    half a unit.
    """
    amount = np.asarray(shift, dtype=np.int64)
    scaled = np.add(x, addend, dtype=np.int64)
    scaled *= np.asarray(multiplier, dtype=np.int64)
    scaled = scaled + ((np.int64(1) << amount) >> 1)
    return np.clip(scaled >> amount, low, high)
