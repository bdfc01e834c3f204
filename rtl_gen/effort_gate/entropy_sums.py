"""What logits weigh below their maximum, and the two sums of their entropy."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.postproc.exponential import CENTER_BITS, POLY_BITS, SQUARE_BITS, times_constant
from rtl_gen.postproc.requantize import Requantize
from rtl_gen.primitives.multiply import multiply
from spec.formats import GATE, LOGIT, SOFTMAX
from spec.isa import GATE as FIELDS

__all__ = ["EntropySums"]

END = GATE.max_octaves << SOFTMAX.fraction_bits
X_BITS = END.bit_length()
WEIGHT_BITS = SOFTMAX.exponent_bits + GATE.guard_bits


class EntropySums(wiring.Component):
    """S and T of `spec.formats.GateConstants`, of one logit a cycle.

    Golden twin: `golden_model.units.entropy_gate.gate_sums`. Latency: `LATENCY` cycles from a logit
    to the sums with it. No back-pressure.

    Members
    -------
    clear : both sums to 0
    multiplier, shift : of the instruction
    valid, maximum, logit : LOGITs
    total, weighted : S and T
    """

    LATENCY = 1 + Requantize.LATENCY_WITHOUT_ADDEND + 5

    clear: In(1)
    multiplier: In(FIELDS["multiplier"].width)
    shift: In(FIELDS["shift"].width)
    valid: In(1)
    maximum: In(signed(LOGIT.bits))
    logit: In(signed(LOGIT.bits))
    total: Out(GATE.sum_bits)
    weighted: Out(GATE.weighted_bits)

    def __init__(self, *, logic_multipliers: bool = False) -> None:
        self._logic = logic_multipliers
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        """Distance, its scale, square, polynomial, shift, product, sums."""
        m = Module()
        logic = self._logic
        valid = Signal(self.LATENCY - 1)
        m.d.sync += valid.eq(valid << 1 | self.valid)

        m.submodules.requantize = scale = Requantize(
            low=0, high=END, x_bits=LOGIT.bits + 1, addend_bits=0, logic=logic
        )
        distance = Signal(LOGIT.bits, reset_less=True)
        m.d.sync += distance.eq(self.maximum - self.logit)
        m.d.comb += [
            scale.enable.eq(1),
            scale.x.eq(distance),
            scale.multiplier.eq(self.multiplier),
            scale.shift.eq(self.shift),
        ]
        x = scale.o[:X_BITS]

        center = Signal(CENTER_BITS)
        square = Signal(SQUARE_BITS, reset_less=True)
        m.d.comb += center.eq(SOFTMAX.center - x[: SOFTMAX.fraction_bits])
        m.d.sync += square.eq(multiply(m, center, center, logic=logic))

        poly = Signal(POLY_BITS)
        mantissa = Signal(SOFTMAX.exponent_bits, reset_less=True)
        m.d.comb += poly.eq(times_constant(square, SOFTMAX.slope) + SOFTMAX.constant)
        m.d.sync += mantissa.eq(poly >> SOFTMAX.poly_shift)

        later = []
        for stage in range(3):
            later.append(Signal(X_BITS, name=f"x_{stage}", reset_less=True))
            m.d.sync += later[-1].eq(later[-2] if stage else x)
        weight = Signal(WEIGHT_BITS, reset_less=True)
        m.d.sync += weight.eq((mantissa << GATE.guard_bits) >> later[1][SOFTMAX.fraction_bits :])

        product = Signal(WEIGHT_BITS + X_BITS, reset_less=True)
        added = Signal(WEIGHT_BITS, reset_less=True)
        m.d.sync += [product.eq(multiply(m, weight, later[2], logic=logic)), added.eq(weight)]
        with m.If(self.clear):
            m.d.sync += [self.total.eq(0), self.weighted.eq(0)]
        with m.Elif(valid[-1]):
            m.d.sync += [
                self.total.eq(self.total + added),
                self.weighted.eq(self.weighted + product),
            ]
        return m
