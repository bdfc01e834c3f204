"""From a row's sums to the reciprocal of its standard deviation."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.primitives.isqrt import Isqrt
from rtl_gen.primitives.reciprocal import Reciprocal
from spec.formats import NORM

__all__ = ["CHANNEL_BITS", "HALF_BITS", "STATISTICS", "SUMS", "RowStatistics"]

CHANNEL_BITS = NORM.max_channels.bit_length()
PAIRS = (NORM.sum_bits + 1) // 2
VARIANCE_BITS = NORM.variance_bits + NORM.variance_bits % 2
HALF_BITS = (VARIANCE_BITS // 2).bit_length()
COARSE = 2
"""Levels of the normalisation that are left for the cycle in which the root begins."""

SUMS = data.StructLayout({"total": signed(NORM.sum_bits), "square_total": NORM.square_sum_bits})
STATISTICS = data.StructLayout(
    {
        "total": signed(NORM.sum_bits),
        "half": HALF_BITS,
        "reciprocal": NORM.reciprocal_bits,
    }
)
"""What normalizing a row takes: its sum, half-exponent k and reciprocal root."""


class RowStatistics(wiring.Component):
    """Variance, normalisation, square root and reciprocal of one row after another.

    Golden twin: `golden_model.units.layer_norm.row_statistics`. Latency: `LATENCY` cycles from
    the transfer of the sums to `valid`. Throughput: a row in `CYCLES` cycles; the square root of
    one row runs beside the variance of the next. Back-pressure: `sums` waits; `result` does not.

    The variance D * S2 - S1**2 takes two bits of |S1| and of D a cycle (Horner), so its two
    products need no multiplier.

    Members
    -------
    channels, epsilon : D and the variance's addend, constant while rows are in work
    sums : stream of SUMS
    valid, result : STATISTICS of the rows, in order
    """

    CYCLES = PAIRS + 4
    LATENCY = PAIRS + 3 + Isqrt.latency() + Reciprocal.latency()

    channels: In(CHANNEL_BITS)
    epsilon: In(NORM.epsilon_bits)
    sums: In(stream.Signature(SUMS))
    valid: Out(1)
    result: Out(STATISTICS)

    def elaborate(self, platform: object) -> Module:
        """Build the variance sequencer, then root and reciprocal."""
        m = Module()
        m.submodules.isqrt = isqrt = Isqrt()
        m.submodules.reciprocal = reciprocal = Reciprocal(serial=True)

        total = Signal(signed(NORM.sum_bits))
        magnitude, digits = Signal(NORM.sum_bits), Signal(2 * PAIRS)
        square_total, factor = Signal(NORM.square_sum_bits), Signal(2 * PAIRS)
        variance = Signal(signed(VARIANCE_BITS + 1))
        steps = Signal(range(PAIRS + 1))
        step = Signal(signed(VARIANCE_BITS + 1))
        loaded = Signal(NORM.sum_bits)
        m.d.comb += [
            loaded.eq(
                Mux(self.sums.payload.total < 0, -self.sums.payload.total, self.sums.payload.total)
            ),
            step.eq(
                (variance << 2)
                + (Mux(factor[-1], square_total << 1, 0) + Mux(factor[-2], square_total, 0))
                - (Mux(digits[-1], magnitude << 1, 0) + Mux(digits[-2], magnitude, 0))
            ),
        ]

        # Normalised by pairs of bits, so that the root's exponent is a whole number
        normal = Signal(VARIANCE_BITS)
        half = Signal(HALF_BITS)
        pairs = VARIANCE_BITS // 2
        levels = (pairs - 1).bit_length()
        shifted, leading = self._shift(m, variance[:VARIANCE_BITS], range(COARSE, levels))
        offered, fine = self._shift(m, normal, range(COARSE))
        coarse = Signal(levels - COARSE)
        m.d.comb += half.eq(pairs - Cat(fine, coarse))
        offered_total = Signal.like(total)

        with m.FSM():
            with m.State("LOAD"):
                m.d.comb += self.sums.ready.eq(1)
                m.d.sync += [
                    total.eq(self.sums.payload.total),
                    magnitude.eq(loaded),
                    digits.eq(loaded),
                    square_total.eq(self.sums.payload.square_total),
                    factor.eq(self.channels),
                    variance.eq(0),
                    steps.eq(PAIRS - 1),
                ]
                with m.If(self.sums.valid):
                    m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                m.d.sync += [
                    variance.eq(step),
                    digits.eq(digits << 2),
                    factor.eq(factor << 2),
                    steps.eq(steps - 1),
                ]
                with m.If(steps == 0):
                    m.next = "EPSILON"
            with m.State("EPSILON"):
                biased = Signal(signed(VARIANCE_BITS + 1))
                m.d.comb += biased.eq(variance + self.epsilon)
                m.d.sync += variance.eq(Mux(biased > 0, biased, 1))
                m.next = "NORMALIZE"
            with m.State("NORMALIZE"):
                m.d.sync += [
                    normal.eq(shifted),
                    coarse.eq(Cat(leading)),
                    offered_total.eq(total),
                ]
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += isqrt.i.valid.eq(1)
                with m.If(isqrt.i.ready):
                    m.next = "LOAD"

        # The root takes longer than the reciprocal: one register each keeps what goes with them
        root_total, root_half = Signal.like(total), Signal.like(half)
        assert Isqrt.latency() > Reciprocal.latency()
        m.d.comb += [
            isqrt.i.payload.eq(offered[-2 * NORM.root_bits :]),
            isqrt.o.ready.eq(1),
            reciprocal.valid.eq(isqrt.o.valid),
            reciprocal.divisor.eq(isqrt.o.payload),
            self.valid.eq(reciprocal.result_valid),
            self.result.reciprocal.eq(reciprocal.result),
        ]
        with m.If(isqrt.i.valid & isqrt.i.ready):
            m.d.sync += [root_total.eq(offered_total), root_half.eq(half)]
        with m.If(isqrt.o.valid):
            m.d.sync += [self.result.total.eq(root_total), self.result.half.eq(root_half)]
        return m

    def _shift(self, m: Module, value: Value, levels: range) -> tuple[Value, list[Signal]]:
        """Left by pairs of bits until no more of `levels` zeros lead; which of these did."""
        leading = []
        for level in reversed(levels):
            bits = 2 << level
            empty = Signal(name=f"empty_{level}")
            m.d.comb += empty.eq(~value[-bits:].any())
            value = Mux(empty, (value << bits)[:VARIANCE_BITS], value)
            leading.insert(0, empty)
        return value, leading
