"""Worst errors of the numeric units over their whole input ranges, and their corners."""

import math

import numpy as np
import pytest

from golden_model.errors import GoldenError
from golden_model.units.bit_length import bit_length
from golden_model.units.gelu import gelu, gelu_activation
from golden_model.units.isqrt import isqrt
from golden_model.units.layer_norm import layer_norm, normalize, row_statistics
from golden_model.units.matmul import matmul_exact
from golden_model.units.reciprocal import reciprocal
from golden_model.units.requantize import requantize
from golden_model.units.residual_add import residual_add
from golden_model.units.softmax import exp2, probabilities, row_scale
from spec.formats import GELU, NORM


def test_bit_length_equals_pythons():
    values = [0, 1, 2, 3, 255, 256, 2**31 - 1, 2**31, 2**51 - 1, 2**63 - 1]
    values += [int(v) for v in np.random.default_rng(0).integers(0, 2**62, 500)]
    assert bit_length(values).tolist() == [v.bit_length() for v in values]


def test_requantize_rounds_half_up_and_clips():
    assert requantize([3, -3, 1, -1], 0, 1, 1, -100, 100).tolist() == [2, -1, 1, 0]
    assert requantize(10, 5, 1, 0, -100, 100) == 15
    assert requantize([1000, -1000], 0, 32768, 15, -127, 127).tolist() == [127, -127]
    assert requantize(2**31 - 1, 2**31 - 1, 0, 48, -127, 127) == 0
    assert requantize([-(2**31)], -(2**31), 65535, 48, -(2**15), 2**15 - 1) == -1


def test_requantize_equals_exact_rational_arithmetic():
    rng = np.random.default_rng(1)
    x, addend = rng.integers(-(2**31), 2**31, (2, 2000))
    multiplier, shift = rng.integers(0, 2**16, 2000), rng.integers(0, 49, 2000)
    got = requantize(x, addend, multiplier, shift, -(2**62), 2**62)
    for i in range(2000):
        product = (int(x[i]) + int(addend[i])) * int(multiplier[i])
        half_up = (2 * product + (1 << int(shift[i]))) // (2 << int(shift[i]))
        assert got[i] == half_up


def test_residual_add_saturates():
    assert residual_add([32767, -32768, 5], [1, -1, -6]).tolist() == [32767, -32768, -1]


def test_gelu_error_over_all_inputs():
    u = np.arange(-(2**15), 2**15)
    x = u * GELU.input_unit
    true = x * np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    got = gelu(u)
    error = np.abs(got * (GELU.input_unit / 4) - true)
    assert 0.0035 < error.max() < 0.0041
    assert np.abs(got).max() < 1 << (GELU.output_bits - 1)
    knee = GELU.knee * GELU.input_unit
    tail = np.where(np.abs(x) < knee, 0.00294213 * (3.69652 - np.abs(x)) ** 4, 0)
    ideal = x * np.where(x > 0, 1 - tail, tail)
    assert np.abs(got * (GELU.input_unit / 4) - ideal).max() < 0.0003


def test_gelu_activation_maps_zero_to_the_zero_point():
    assert gelu_activation(0, 40000, 20, -99) == -99
    assert gelu_activation(-32768, 40000, 20, -99) == -99
    assert gelu_activation(32767, 65535, 10, 0) == 127
    # -1 is where gelu is negative: a code below the zero point
    minus_one = round(-1 / GELU.input_unit)
    assert gelu_activation(minus_one, 32768, 24, -100) < -100


def test_reciprocal_error_over_all_inputs():
    n = np.arange(2**15, 2**16)
    got = reciprocal(n)
    assert got.min() >= 2**15
    assert got.max() == 65535
    assert (np.abs(got * n / 2**31 - 1)).max() <= 2**-15


def test_isqrt_is_the_exact_floor():
    roots = np.arange(2**16)
    corners = np.concatenate([roots**2, roots**2 + roots, (roots + 1) ** 2 - 1])
    got = isqrt(corners)
    assert (got * got <= corners).all()
    assert ((got + 1) ** 2 > corners).all()


def test_exp2_error_over_all_inputs():
    f = np.arange(128)
    assert exp2(0) == 32640
    assert exp2(f).max() == 32640
    assert exp2(f).min() > 0
    assert np.abs(exp2(f) / 32640 - 2.0 ** (-f / 128)).max() < 0.0020


def test_probability_error_over_all_distances():
    for start in range(0, 2**16, 2**12):
        d = np.arange(start, start + 2**12)
        logits = np.concatenate([[32767], 32767 - d])
        got = probabilities(logits)
        assert got[0] == 255
        true = np.floor(255 * 2.0 ** (-d / 128) + 0.5)
        assert np.abs(got[1:] - true).max() <= 1
    assert probabilities([0, -9 * 128 + 1, -9 * 128]).tolist() == [255, 1, 0]
    assert probabilities([-32768, -32768]).tolist() == [255, 255]


def test_row_scale_error_over_all_sums():
    total = np.arange(255, 255 * 1023 + 1)
    for output_multiplier in (32768, 40503, 65535):
        multiplier, shift = row_scale(total, output_multiplier, 16)
        assert multiplier.max() < 2**16
        relative = multiplier * 2.0 ** (-shift) * total / (output_multiplier * 2.0**-16) - 1
        assert np.abs(relative).max() < 2**-13.6


@pytest.mark.parametrize(("channels", "bound"), [(64, 0.0006), (192, 0.0007), (768, 0.0012)])
def test_normalize_error_over_random_and_outlier_rows(channels, bound):
    rng = np.random.default_rng(channels)
    sigma = 2.0 ** rng.uniform(2, 13, (300, 1))
    rows = rng.normal(0, 1, (300, channels)) * sigma
    rows[100:200, 3] *= 100
    x = np.clip(np.rint(rows + rng.normal(0, 2000, (300, 1))), -32768, 32767).astype(np.int64)
    fraction_bits = NORM.fraction_bits(channels)
    half, rcp = row_statistics(x.sum(-1), (x * x).sum(-1), channels, 1)
    y = normalize(x, x.sum(-1), half, rcp, fraction_bits) / 2**fraction_bits
    true = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    assert np.abs(y - true).max() < bound


def test_layer_norm_corners():
    gain, offset = np.full(8, 1000), np.full(8, 5 << 10)
    # a constant row has no variance: only the offset remains
    assert layer_norm(np.full((2, 8), -32768), gain, offset, 10, 0).tolist() == [[5] * 8] * 2
    extreme = np.array([32767, -32768] * 4)
    assert layer_norm(extreme, gain, 0 * offset, 12, 2**32 - 1).max() <= 127
    outlier = np.zeros(1023, np.int64)
    outlier[0] = 32767
    half, rcp = row_statistics(outlier.sum(), (outlier**2).sum(), 1023, 0)
    y = normalize(outlier, outlier.sum(), half, rcp, 10)
    assert y[0] == pytest.approx(math.sqrt(1022) * 1024, rel=1e-4)


def test_matmul_exact_equals_integers_in_both_float_kinds():
    rng = np.random.default_rng(2)
    for depth in (7, 518, 3072):  # the last needs float64
        a = rng.integers(-256, 256, (5, depth))
        b = rng.integers(-127, 128, (depth, 6), dtype=np.int8)
        a[0], b[:, 0] = 255, 127
        got = matmul_exact(a, b)
        assert got.dtype == np.int32
        assert (got == a @ b.astype(np.int64)).all()


def test_matmul_exact_refuses_what_it_cannot_hold():
    with pytest.raises(GoldenError, match="the accumulator holds 2,147,483,647"):
        matmul_exact(np.full((1, 70000), 255), np.full((70000, 1), 127))
    with pytest.raises(GoldenError, match="operands must be integers, not float64"):
        matmul_exact(np.ones((1, 2)), np.ones((2, 1), np.int8))
