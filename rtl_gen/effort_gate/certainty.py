"""Whether two sums are those of an entropy that is small enough: logarithm and product, serial."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.postproc.exponential import times_constant
from rtl_gen.primitives.wire import wire
from spec.formats import GATE, SOFTMAX
from spec.isa import GATE as FIELDS

__all__ = ["Certainty"]

MANTISSA_BITS = GATE.fraction_bits
LARGEST = (SOFTMAX.slope * SOFTMAX.center**2 + SOFTMAX.constant) >> SOFTMAX.poly_shift
LEAST_WHOLE = (LARGEST << GATE.guard_bits).bit_length() - 1
"""Of log2 S: the largest logit is in the sum."""
MOST_ROOM = GATE.max_threshold + GATE.unit - (LEAST_WHOLE << MANTISSA_BITS)
SHIFTS = GATE.sum_bits - 1 - LEAST_WHOLE
ROUNDS = max(SHIFTS, MANTISSA_BITS, MOST_ROOM.bit_length())
"""Steps of each of the three loops: the first one bit of S up, the others a bit of a factor."""


class Certainty(wiring.Component):
    """Whether `weighted << 3 <= total * (threshold + unit - log2(total))`.

    Golden twin: the end of `golden_model.units.entropy_gate.is_certain`. Latency: `LATENCY` cycles
    from `start` to `done`. All inputs stay as they are until then.

    Members
    -------
    start : begin
    total, weighted, threshold : S, T and the instruction's threshold
    done, certain : the answer, in one cycle
    """

    LATENCY = 3 * ROUNDS + 5

    start: In(1)
    total: In(GATE.sum_bits)
    weighted: In(GATE.weighted_bits)
    threshold: In(FIELDS["threshold"].width)
    done: Out(1)
    certain: Out(1)

    def elaborate(self, platform: object) -> Module:
        """One adder multiplies: first the mantissa by its distance to 1, then S by what is left."""
        m = Module()
        normal = Signal(SHIFTS + 1 + MANTISSA_BITS)
        """S from its first bit on, as far as it counts."""
        whole = Signal(range(GATE.sum_bits))
        factor = Signal(ROUNDS)
        """Bits to multiply by, from the uppermost on."""
        product = Signal(GATE.sum_bits + ROUNDS)
        rounds = Signal(range(ROUNDS))
        logarithm = Signal(range(GATE.sum_bits << MANTISSA_BITS))
        negative = Signal()

        last = rounds == ROUNDS - 1
        mantissa = normal[-1 - MANTISSA_BITS : -1]
        rest = wire(m, (1 << MANTISSA_BITS) - mantissa)
        bend = times_constant(wire(m, product[: 2 * MANTISSA_BITS]), GATE.curve)
        room = Signal(signed(max(ROUNDS, len(logarithm)) + 2))
        m.d.comb += room.eq(self.threshold + GATE.unit - logarithm)

        final = Signal()
        """The second of the two products."""
        term = wire(m, Mux(factor[-1], Mux(final, self.total, rest), 0))
        m.d.sync += rounds.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    normal.eq(self.total[-len(normal) :]),
                    whole.eq(GATE.sum_bits - 1),
                ]
                with m.If(self.start):
                    m.next = "NORMALIZE"
            with m.State("NORMALIZE"):
                m.d.sync += rounds.eq(rounds + 1)
                with m.If(~normal[-1]):
                    m.d.sync += [normal.eq(normal << 1), whole.eq(whole - 1)]
                with m.If(last):
                    m.next = "MANTISSA"
            with m.State("MANTISSA"):
                m.d.sync += [factor.eq(mantissa), product.eq(0), final.eq(0)]
                m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                m.d.sync += [
                    rounds.eq(rounds + 1),
                    factor.eq(factor << 1),
                    product.eq((product << 1) + term),
                ]
                with m.If(last):
                    m.d.sync += rounds.eq(0)
                    m.next = "COMPARE"
                    with m.If(~final):
                        m.next = "LOGARITHM"
            with m.State("LOGARITHM"):
                m.d.sync += logarithm.eq(Cat(mantissa, whole) + (bend >> 2 * MANTISSA_BITS))
                m.next = "ROOM"
            with m.State("ROOM"):
                m.d.sync += [
                    factor.eq(room),
                    negative.eq(room < 0),
                    product.eq(0),
                    final.eq(1),
                ]
                m.next = "MULTIPLY"
            with m.State("COMPARE"):
                scaled = self.weighted << GATE.fraction_bits - SOFTMAX.fraction_bits
                m.d.sync += self.certain.eq(~negative & (scaled <= product))
                m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.done.eq(1)
                m.next = "IDLE"
        return m
