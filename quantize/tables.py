"""Integer tensors of one layer, from its float parameters and scales.

A scale is the real value of one integer unit.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantize.errors import QuantizeError
from spec.formats import ACT, GELU, NORM, REQUANTIZE, WEIGHT

__all__ = ["gelu_tensors", "linear_tensors", "multiplier_shift", "norm_tensors", "scale_of"]

Tensors = dict[str, NDArray[np.generic]]
Vector = NDArray[np.float64]

ADDEND_LIMIT = 1 << 30
"""Biases stay below this, so that a sum with an accumulator fits 32 bits with ease."""


def scale_of(largest: ArrayLike, high: int = ACT.high) -> Vector:
    """Take the scale at which `largest` is the code `high`; 1 where there is nothing to scale."""
    largest = np.asarray(largest, dtype=np.float64)
    return np.where(largest > 0, largest, high) / high


def multiplier_shift(
    real: ArrayLike, name: str, max_shift: int = REQUANTIZE.max_shift
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Express positive factors as multiplier * 2**-shift, the multiplier in 2**15 .. 2**16 - 1.

    Factors too small for that have fewer significant bits, down to a multiplier of 0.
    """
    real = np.atleast_1d(np.asarray(real, dtype=np.float64))
    bits = REQUANTIZE.multiplier_bits
    _, exponent = np.frexp(real)
    shift = np.minimum(bits - exponent, max_shift)
    multiplier = np.rint(np.ldexp(real, shift))
    carried = multiplier >= 1 << bits
    shift = np.where(carried, shift - 1, shift)
    multiplier = np.where(carried, np.rint(np.ldexp(real, shift)), multiplier)
    if not np.isfinite(real).all() or (shift < 0).any():
        raise QuantizeError(f"{name}: cannot rescale by {real.max():g}, which exceeds 2**{bits}")
    return multiplier.astype(np.uint16), shift.astype(np.uint8)


def linear_tensors(
    name: str,
    weight: ArrayLike,
    bias: ArrayLike,
    input_scale: ArrayLike,
    output_scale: ArrayLike,
) -> Tensors:
    """Weight, bias, multiplier and shift of a linear layer.

    weight : float [outputs, inputs]
    bias : float [outputs]
    input_scale : scalar or [inputs]
    output_scale : scalar or [outputs]
    """
    effective = np.asarray(weight, np.float64) * np.asarray(input_scale)
    bias = np.asarray(bias, np.float64)
    largest = np.abs(effective).max(axis=1)
    # A bias far above its weights (a dead channel) coarsens them until it fits.
    largest = np.maximum(largest, np.abs(bias) * WEIGHT.high / ADDEND_LIMIT)
    scale = scale_of(largest, WEIGHT.high)
    # A channel without weights and bias is zero in any unit: take one that needs no rescaling.
    scale = np.where(largest > 0, scale, output_scale)
    multiplier, shift = multiplier_shift(scale / output_scale, name)
    codes = np.rint(effective / scale[:, None])
    return {
        f"{name}.weight": np.ascontiguousarray(codes.T.astype(np.int8)),
        f"{name}.bias": np.rint(bias / scale).astype(np.int32),
        f"{name}.mult": multiplier,
        f"{name}.shift": shift,
    }


def gelu_tensors(name: str, low: float, high: float) -> tuple[float, Tensors]:
    """Scale, multiplier, shift and zero point of codes for GELU outputs in low .. high."""
    output = float(scale_of(high - low, 255))
    gelu_unit = GELU.input_unit / (1 << GELU.fourth_bits - GELU.output_shift)
    multiplier, shift = multiplier_shift(gelu_unit / output, name)
    zero_point = np.array([round(-low / output) - 128], np.int8)
    return output, {
        f"{name}.mult": multiplier,
        f"{name}.shift": shift,
        f"{name}.zero_point": zero_point,
    }


def norm_tensors(
    name: str,
    weight: ArrayLike,
    bias: ArrayLike,
    output_scale: ArrayLike,
    residual_scale: float,
    epsilon: float,
) -> Tensors:
    """Gain, offset, shift and epsilon of a LayerNorm.

    weight, bias : float [channels]
    output_scale : [channels]
    """
    gain = np.asarray(weight, np.float64) / np.asarray(output_scale)
    offset = np.asarray(bias, np.float64) / np.asarray(output_scale)
    channels = len(gain)
    fraction_bits = NORM.fraction_bits(channels)
    # gain * 2**(shift - fraction_bits) must fit int16, offset * 2**shift must stay small.
    room = min(
        fraction_bits + _exponent_room(np.abs(gain).max(), (1 << 15) - 1),
        _exponent_room(np.abs(offset).max(), ADDEND_LIMIT),
        REQUANTIZE.max_shift // 2,
    )
    units = round(channels**2 * epsilon / residual_scale**2)
    if room < 0 or units >= 1 << NORM.epsilon_bits:
        raise QuantizeError(f"{name}: gain, offset or epsilon is too large for integer LayerNorm")
    return {
        f"{name}.gain": np.rint(np.ldexp(gain, room - fraction_bits)).astype(np.int16),
        f"{name}.offset": np.rint(np.ldexp(offset, room)).astype(np.int32),
        f"{name}.shift": np.array([room], np.uint8),
        f"{name}.epsilon": np.array([units], np.uint32),
    }


def _exponent_room(largest: float, limit: int) -> int:
    """Return the largest e with largest * 2**e <= limit; 64 for zero."""
    return math.floor(math.log2(limit / largest)) if largest > 0 else 64
