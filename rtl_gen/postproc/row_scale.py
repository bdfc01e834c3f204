"""The requantizer of one attention row: the output scale over the row's sum."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ROW_SCALE
from rtl_gen.primitives.multiply import multiply
from rtl_gen.primitives.reciprocal import Reciprocal
from spec.formats import REQUANTIZE, SOFTMAX

__all__ = ["RowScale"]


class RowScale(wiring.Component):
    """Divides an output multiplier by a sum of probabilities.

    Golden twin: `golden_model.units.softmax.row_scale`. Latency: `LATENCY` cycles. Throughput:
    one a cycle. No back-pressure.

    Members
    -------
    valid, total : sum of a row's probabilities, not 0
    output_multiplier, output_shift : of the row's instruction, in the same cycle
    result_valid, scale : the row's requantizer, `LATENCY` cycles later
    """

    DIGITS_PER_STAGE = 2
    LATENCY = 2 + Reciprocal.latency(DIGITS_PER_STAGE)

    def __init__(self, *, logic_multipliers: bool = False) -> None:
        self.logic_multipliers = logic_multipliers
        super().__init__(
            {
                "valid": In(1),
                "total": In(SOFTMAX.sum_bits),
                "output_multiplier": In(REQUANTIZE.multiplier_bits),
                "output_shift": In(REQUANTIZE.shift_bits),
                "result_valid": Out(1),
                "scale": Out(ROW_SCALE),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Normalise, divide, multiply."""
        m = Module()
        bits = SOFTMAX.reciprocal_bits
        tag_bits = REQUANTIZE.multiplier_bits + REQUANTIZE.shift_bits
        m.submodules.reciprocal = reciprocal = Reciprocal(
            tag_bits=tag_bits, digits_per_stage=self.DIGITS_PER_STAGE
        )

        normal = Signal(SOFTMAX.sum_bits)
        length = Signal(range(SOFTMAX.sum_bits + 1))
        m.d.comb += normal.eq(self.total)
        for position in range(SOFTMAX.sum_bits):
            with m.If(self.total[position]):
                m.d.comb += [
                    normal.eq(self.total << (SOFTMAX.sum_bits - 1 - position)),
                    length.eq(position + 1),
                ]
        shift = Signal(REQUANTIZE.shift_bits)
        divisor = Signal(bits)
        multiplier = Signal(REQUANTIZE.multiplier_bits)
        valid = Signal()
        m.d.sync += [
            valid.eq(self.valid),
            divisor.eq(normal[SOFTMAX.sum_bits - bits :]),
            multiplier.eq(self.output_multiplier),
            shift.eq(length + self.output_shift - 1),
        ]
        m.d.comb += [
            reciprocal.valid.eq(valid),
            reciprocal.divisor.eq(divisor),
            reciprocal.tag.eq(Cat(multiplier, shift)),
        ]

        scaled = Signal(bits + REQUANTIZE.multiplier_bits)
        tag_multiplier = reciprocal.result_tag[: REQUANTIZE.multiplier_bits]
        m.d.comb += scaled.eq(
            multiply(m, reciprocal.result, tag_multiplier, logic=self.logic_multipliers)
        )
        m.d.sync += [
            self.result_valid.eq(reciprocal.result_valid),
            self.scale.multiplier.eq(scaled >> bits),
            self.scale.shift.eq(reciprocal.result_tag[REQUANTIZE.multiplier_bits :]),
        ]
        return m
