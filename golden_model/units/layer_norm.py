"""LayerNorm of int16 rows, with a normalised integer square root."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden_model.units.bit_length import bit_length
from golden_model.units.isqrt import isqrt
from golden_model.units.reciprocal import reciprocal
from spec.formats import ACT, NORM

__all__ = ["layer_norm", "normalize", "row_statistics"]

ROOT_HALF = NORM.scaled_bits - NORM.reciprocal_bits + 10
"""13: `normalize` keeps the centred value shifted by 13 - k."""


def row_statistics(
    total: ArrayLike, square_total: ArrayLike, channels: int, epsilon: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Half-exponent k and reciprocal root of each row's variance.

    total : [...], sum of a row's x
    square_total : [...], sum of its x**2
    channels : D
    epsilon : uint32, D**2 times the real epsilon, in units of x**2
    result : k [...] (1 .. 26) and uint16 reciprocal [...]; the standard deviation times D is
        2**(k + 15) / reciprocal
    """
    total = np.asarray(total, dtype=np.int64)
    variance = channels * np.asarray(square_total, np.int64) - total * total + epsilon
    variance = np.maximum(variance, 1)
    half = (bit_length(variance) + 1) >> 1
    up = 2 * NORM.root_bits - 2 * half
    normal = np.where(up >= 0, variance << np.maximum(up, 0), variance >> np.maximum(-up, 0))
    return half, reciprocal(isqrt(normal))


def normalize(
    x: ArrayLike, total: ArrayLike, half: ArrayLike, rcp: ArrayLike, fraction_bits: int
) -> NDArray[np.int64]:
    """(x - mean) / standard deviation, before gain and offset.

    x : RESIDUAL [..., channels]
    total, half, rcp : [...], of `row_statistics`
    fraction_bits : fraction bits of the result
    result : int16 [..., channels]
    """
    x = np.asarray(x, dtype=np.int64)
    up = ROOT_HALF - np.asarray(half, dtype=np.int64)[..., None]
    centred = x.shape[-1] * x - np.asarray(total, dtype=np.int64)[..., None]
    scaled = (centred << np.maximum(up, 0)) >> np.maximum(-up, 0)
    scaled *= np.asarray(rcp, dtype=np.int64)[..., None]
    down = ROOT_HALF + 15 - fraction_bits
    limit = 1 << (NORM.normal_bits - 1)
    return np.clip((scaled + (1 << (down - 1))) >> down, -limit, limit - 1)


def layer_norm(
    x: ArrayLike, gain: ArrayLike, offset: ArrayLike, shift: ArrayLike, epsilon: int
) -> NDArray[np.int64]:
    """LayerNorm: `clip((y * gain + offset + ((1 << shift) >> 1)) >> shift)` to ACT.

    x : RESIDUAL [..., channels], at most 1,023 channels
    gain : int16 [channels]
    offset : int32 [channels], added to the product
    shift : 0 .. 48, scalar or [channels]
    epsilon : uint32, see `row_statistics`
    result : ACT [..., channels]

    Worst error of y over random and outlier rows: 0.0006 (64 channels), 0.0011 (768).
    """
    x = np.asarray(x, dtype=np.int64)
    channels = x.shape[-1]
    total = x.sum(axis=-1)
    half, rcp = row_statistics(total, (x * x).sum(axis=-1), channels, epsilon)
    y = normalize(x, total, half, rcp, NORM.fraction_bits(channels))
    amount = np.asarray(shift, dtype=np.int64)
    out = y * np.asarray(gain, np.int64) + np.asarray(offset, np.int64)
    return np.clip((out + ((np.int64(1) << amount) >> 1)) >> amount, ACT.low, ACT.high)
