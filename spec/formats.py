"""Number formats and the constants of the integer equations: each width stands here, once.

The golden model (numpy) and the RTL (Amaranth) both read these constants; neither imports the
other. `docs/numerics.md` gives the equations and their error bounds.
"""

from dataclasses import dataclass

__all__ = [
    "ACC",
    "ACT",
    "COUNTER_BITS",
    "GATE",
    "GELU",
    "GROUP_BITS",
    "LOGIT",
    "NORM",
    "PROB",
    "REQUANTIZE",
    "RESIDUAL",
    "SCALAR",
    "SCORE",
    "SELECTOR",
    "SOFTMAX",
    "WEIGHT",
    "Format",
    "GateConstants",
    "GeluConstants",
    "NormConstants",
    "RequantizeConstants",
    "SelectorConstants",
    "SoftmaxConstants",
]


@dataclass(frozen=True, kw_only=True)
class Format:
    """An integer format: how many bits it takes and which values it may hold."""

    name: str
    bits: int
    signed: bool
    low: int
    high: int

    @property
    def dtype(self) -> str:
        """Name of the numpy dtype that holds the format."""
        storage_bits = next(size for size in (8, 16, 32, 64) if size >= self.bits)
        return f"{'int' if self.signed else 'uint'}{storage_bits}"


ACT = Format(name="ACT", bits=8, signed=True, low=-127, high=127)
"""Activations. The output of an activation function may also hold -128 (it has a zero point)."""
WEIGHT = Format(name="WEIGHT", bits=8, signed=True, low=-127, high=127)
SCALAR = Format(name="SCALAR", bits=9, signed=True, low=-256, high=255)
"""The array's scalar operand: an ACT minus its zero point, or a PROB."""
ACC = Format(name="ACC", bits=32, signed=True, low=-(2**31), high=2**31 - 1)
RESIDUAL = Format(name="RESIDUAL", bits=16, signed=True, low=-(2**15), high=2**15 - 1)
"""Residual stream, one scale a model; also the wide results (class logits)."""
LOGIT = Format(name="LOGIT", bits=16, signed=True, low=-(2**15), high=2**15 - 1)
"""Attention logits in units of 2**-7 octave."""
PROB = Format(name="PROB", bits=8, signed=False, low=0, high=255)
"""Unnormalised attention probabilities: 255 is the row's maximum."""


SCORE = Format(name="SCORE", bits=16, signed=False, low=0, high=2**16 - 1)
"""How much a token matters, in units of 2**-14: of a head's choice, or of CLS's attention."""

GROUP_BITS = 6
"""Of a key's place in its bank, as lists of kept scores name it (see `spec.masks`)."""

COUNTER_BITS = 48
"""Of the machine's own counters."""


@dataclass(frozen=True, kw_only=True)
class RequantizeConstants:
    """Table entry of one output channel: `clip((x + addend) * multiplier, rounded, >> shift)`."""

    addend_bits: int = 32
    multiplier_bits: int = 16
    shift_bits: int = 6
    entry_bytes: int = 8
    """In DRAM: addend int32, multiplier uint16 (int16 for LayerNorm), shift uint8, zero uint8."""
    max_shift: int = 48


@dataclass(frozen=True, kw_only=True)
class SoftmaxConstants:
    """Base-2 softmax: `prob = (E(f) + (64 << z)) >> (7 + z)` with `d = max - logit = 128 z + f`."""

    fraction_bits: int = 7
    exponent_bits: int = 15
    center: int = 249
    """1.353 / ln 2 in units of 2**-7 is 249.9 (HeatViT eq. 14); 249 with a slope of its own."""
    slope: int = 1411
    constant: int = 46212077
    poly_shift: int = 12
    """E(f) = (slope * (center - f)**2 + constant) >> poly_shift; E(0) = 32640 = 255 * 128."""
    max_octaves: int = 9
    """Logits this many octaves below the maximum have probability 0."""
    sum_bits: int = 18
    """Holds 255 * 1023 tokens."""
    reciprocal_bits: int = 16


@dataclass(frozen=True, kw_only=True)
class GeluConstants:
    """gelu(x) = x * Phi(x), Phi(-x) = c (a - x)**4 below a: the quartic, delta1 = 1.

    The input unit 2**-12 / 0.232898 absorbs the coefficient, so no constant is multiplied.
    """

    input_unit: float = 2**-12 / 0.232898
    knee: int = 3526
    """round(3.69652 * 0.232898 * 4096)"""
    knee_bits: int = 12
    square_shift: int = 8
    fourth_shift: int = 16
    fourth_bits: int = 16
    output_shift: int = 14
    """g = (u * Phi + 2**13) >> 14: two bits finer than u."""
    output_bits: int = 20


@dataclass(frozen=True, kw_only=True)
class NormConstants:
    """Widths of the exact LayerNorm, for up to 1,023 channels."""

    max_channels: int = 1023
    sum_bits: int = 26
    square_sum_bits: int = 41
    variance_bits: int = 51
    epsilon_bits: int = 32
    centred_bits: int = 28
    """D * x - sum, signed."""
    root_bits: int = 16
    """isqrt of the normalised variance, in [2**15, 2**16)."""
    reciprocal_bits: int = 16
    scaled_bits: int = 19
    """The centred value after `shift by 13 - k`, signed."""
    normal_bits: int = 16
    """y, signed; `fraction_bits(D)` of them are the fraction."""

    def fraction_bits(self, channels: int) -> int:
        """Fraction bits of y: |y| <= sqrt(channels - 1) must fit 16 bits signed."""
        if channels <= 64:
            return 12
        return 11 if channels <= 256 else 10


@dataclass(frozen=True, kw_only=True)
class SelectorConstants:
    """The token selector: scores in units of 2**-14, sigmoid by PLAN in units of 2**-8."""

    score_bits: int = 14
    share_bits: int = 8
    """Fraction bits of a head's share of keeping, of its attention, and of their mean."""
    plan: tuple[tuple[int, int, int], ...] = ((608, 5, 216), (256, 3, 160), (0, 2, 128))
    """PLAN (HeatViT's sigmoid): for |x| from the first number on, (|x| >> second) + third."""
    plan_end: int = 1280
    """|x| from which it is 1."""
    weight_bits: int = 8
    """Of a dropped row in the package."""
    sum_bits: int = 34
    """Holds a weighted sum of 1,023 int16 channels."""
    max_heads: int = 16

    def weight_shift(self, threshold: int) -> int:
        """From a dropped row's score, which is less than the threshold, to its weight."""
        return max(0, (threshold - 1).bit_length() - self.weight_bits) if threshold else 0


@dataclass(frozen=True, kw_only=True)
class GateConstants:
    """Entropy of class logits against a threshold, without a division (PIVOT).

    A logit `x = 128 z + f` (units of 2**-7 octave) below the largest one has the weight
    `e = (E(f) << guard_bits) >> z`. With `S = sum e` and `T = sum e x` the entropy is
    `log2(S / (E(0) << guard_bits)) + T / S` bits. It is at most the threshold if
    `(T << 3) <= S * (threshold + unit - log2 S)`, with threshold, unit and log2 in 2**-10 bit.
    """

    fraction_bits: int = 10
    """Of a threshold and of log2 S, in bits."""
    max_threshold: int = 2**16 - 1
    guard_bits: int = 4
    """With 1,000 classes, many are far below the largest: without them, half a bit is lost."""
    max_octaves: int = 19
    """Logits this many octaves below the maximum weigh nothing: E(f) has 15 bits."""
    unit: int = 19450
    """1024 (log2 E(0) + guard_bits), E(0) = 32640 of `SoftmaxConstants`."""
    curve: int = 352
    """log2(1 + m / 1024) = m + (curve * m * (1024 - m) >> 20), in units of 2**-10."""
    sum_bits: int = 36
    """Holds S of 65,535 classes."""
    weighted_bits: int = 43
    """Holds T of as many: e x is less than 2**26."""


REQUANTIZE = RequantizeConstants()
SOFTMAX = SoftmaxConstants()
GATE = GateConstants()
GELU = GeluConstants()
NORM = NormConstants()
SELECTOR = SelectorConstants()
