"""GELU as x times a quartic approximation of the normal distribution function."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden_model.units.requantize import requantize
from spec.formats import GELU

__all__ = ["gelu", "gelu_activation"]

ACTIVATION_LOW, ACTIVATION_HIGH = -128, 127


def gelu(u: ArrayLike) -> NDArray[np.int64]:
    """Phi(-x) = c (a - x)**4 below a, in integers; two bits finer than its input.

    u : int16 [...] in units of `GELU.input_unit`
    result : int20 [...] in units of `GELU.input_unit` / 4

    Worst error against x Phi(x) over all inputs: 0.0041.
    """
    u = np.asarray(u, dtype=np.int64)
    below = np.maximum(GELU.knee - np.abs(u), 0)
    square = (below * below + (1 << GELU.square_shift >> 1)) >> GELU.square_shift
    tail = (square * square + (1 << GELU.fourth_shift >> 1)) >> GELU.fourth_shift
    phi = np.where(u > 0, (1 << GELU.fourth_bits) - tail, tail)
    return (u * phi + (1 << GELU.output_shift >> 1)) >> GELU.output_shift


def gelu_activation(
    u: ArrayLike, multiplier: int, shift: int, zero_point: int
) -> NDArray[np.int64]:
    """GELU and its requantization to int8 codes with a zero point.

    u : int16 [...] in units of `GELU.input_unit`
    multiplier, shift : uint16 and 0 .. 48, from gelu's unit to the codes' scale
    zero_point : int8, the code of 0
    result : int8 [...], -128 .. 127
    """
    wide = (1 << 24) - 1
    codes = requantize(gelu(u), 0, multiplier, shift, -wide - 1, wide) + zero_point
    return np.clip(codes, ACTIVATION_LOW, ACTIVATION_HIGH)
