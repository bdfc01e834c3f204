"""Base-2 softmax with 8-bit unnormalised probabilities and one reciprocal a row."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden_model.units.bit_length import bit_length
from golden_model.units.reciprocal import reciprocal
from spec.formats import LOGIT, SOFTMAX

__all__ = ["exp2", "probabilities", "row_scale"]


def exp2(f: ArrayLike) -> NDArray[np.int64]:
    """32640 * 2**(-f / 128), by HeatViT's quadratic (eq. 14) with a refitted slope.

    f : uint7 [...]
    result : uint15 [...]

    Worst error against 32640 * 2**(-f / 128) over all inputs: 0.0020 of 32640.
    """
    distance = SOFTMAX.center - np.asarray(f, dtype=np.int64)
    return (SOFTMAX.slope * distance * distance + SOFTMAX.constant) >> SOFTMAX.poly_shift


def probabilities(logits: ArrayLike, kept: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Unnormalised probabilities of each row: 255 * 2**(logit - row maximum), rounded.

    logits : LOGIT [..., keys], units of 2**-7 octave
    kept : bool, as logits; the others are taken for minus infinity. A row keeps at least one
    result : PROB [..., keys], with 255 where the row has its maximum

    Worst error against 255 * 2**(-d / 128), rounded, over all distances d: 1 code.
    """
    logits = np.asarray(logits, dtype=np.int64)
    present = logits if kept is None else np.where(kept, logits, LOGIT.low)
    distance = present.max(axis=-1, keepdims=True) - present
    octaves = np.minimum(distance >> SOFTMAX.fraction_bits, SOFTMAX.max_octaves)
    mantissa = exp2(distance & ((1 << SOFTMAX.fraction_bits) - 1))
    rounding = np.int64(1) << (octaves + SOFTMAX.fraction_bits - 1)
    prob = (mantissa + rounding) >> (SOFTMAX.fraction_bits + octaves)
    prob = np.where(octaves < SOFTMAX.max_octaves, prob, 0)
    return prob if kept is None else np.where(kept, prob, 0)


def row_scale(
    total: ArrayLike, output_multiplier: ArrayLike, output_shift: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Multiplier and shift that requantize a row of P.V: divides by the row's sum.

    total : [...], sum of a row's probabilities, 255 .. 255 * 1023
    output_multiplier, output_shift : uint16 and 1 .. 30, the scale of V over that of the output
    result : multiplier uint16 [...] and shift [...], for `requantize`

    Worst relative error against output_multiplier * 2**-output_shift / total over all sums:
    2**-13.6 with a multiplier in 2**15 .. 2**16 - 1.
    """
    total = np.asarray(total, dtype=np.int64)
    length = bit_length(total)
    up = SOFTMAX.reciprocal_bits - length
    normal = np.where(up >= 0, total << np.maximum(up, 0), total >> np.maximum(-up, 0))
    product = reciprocal(normal) * np.asarray(output_multiplier, dtype=np.int64)
    return product >> SOFTMAX.reciprocal_bits, length + np.asarray(output_shift, np.int64) - 1
