"""The mean of dropped rows: weighted sums of some channels, then a requantizer for all of them."""

from amaranth.hdl import Array, Cat, Const, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ROW_SCALE
from rtl_gen.postproc.requantize import Requantize
from rtl_gen.postproc.row_scale import RowScale
from rtl_gen.primitives.multiply import multiply
from spec.formats import RESIDUAL, SELECTOR, SOFTMAX

__all__ = ["PackageRow"]

UNIT, UNIT_SHIFT = 1 << 15, 15
"""Multiplier and shift of one, which the sum of the weights divides."""


class PackageRow(wiring.Component):
    """Sums `width` channels of dropped rows, a row a cycle; divides them by the weights' sum.

    Golden twin: `golden_model.units.select_tokens.package_row`. The scale takes
    `SCALE_CYCLES` cycles, once an instruction.

    Members
    -------
    scale, total : the weights' sum is there: make it a scale; not 0
    scaled : in the last cycle of that
    clear : forget the sums
    valid, weight, channels : of a dropped row
    finish : begin to divide; the sums are complete
    finished : in the last cycle of that
    word : the last channels that came out, the newest highest
    """

    SCALE_CYCLES = RowScale.LATENCY + 1
    ADD_CYCLES = 3
    """From `valid` to the sums."""

    def __init__(self, *, lanes: int, width: int, logic_multipliers: bool = False) -> None:
        self.lanes, self.width = lanes, width
        self.logic_multipliers = logic_multipliers
        super().__init__(
            {
                "scale": In(1),
                "total": In(SOFTMAX.sum_bits),
                "scaled": Out(1),
                "clear": In(1),
                "valid": In(1),
                "weight": In(SELECTOR.weight_bits),
                "channels": In(data.ArrayLayout(signed(RESIDUAL.bits), width)),
                "finish": In(1),
                "finished": Out(1),
                "word": Out(lanes * 8),
            }
        )

    @staticmethod
    def finish_cycles(width: int) -> int:
        """Cycles from `finish` to `finished`, less one."""
        return width + Requantize.LATENCY_WITHOUT_ADDEND + 1

    def elaborate(self, platform: object) -> Module:
        """Multiply and add in every lane; one lane after the other is divided."""
        m = Module()
        logic = self.logic_multipliers
        m.submodules.row_scale = row_scale = RowScale(logic_multipliers=logic)
        m.submodules.requantize = requantize = Requantize(
            low=RESIDUAL.low,
            high=RESIDUAL.high,
            x_bits=SELECTOR.sum_bits,
            addend_bits=0,
            logic=logic,
        )

        scale = Signal(ROW_SCALE)
        m.d.comb += [
            row_scale.valid.eq(self.scale),
            row_scale.total.eq(self.total),
            row_scale.output_multiplier.eq(UNIT),
            row_scale.output_shift.eq(UNIT_SHIFT),
            self.scaled.eq(row_scale.result_valid),
        ]
        with m.If(row_scale.result_valid):
            m.d.sync += scale.eq(row_scale.scale)

        # Operands, product, sum
        stages = Signal(2)
        weight = Signal(SELECTOR.weight_bits)
        m.d.sync += [stages.eq(stages << 1 | self.valid), weight.eq(self.weight)]
        sums = []
        for lane in range(self.width):
            channel = Signal(signed(RESIDUAL.bits), name=f"channel_{lane}")
            product = Signal(signed(RESIDUAL.bits + len(weight) + 1), name=f"product_{lane}")
            total = Signal(signed(SELECTOR.sum_bits), name=f"sum_{lane}")
            m.d.sync += [
                channel.eq(self.channels[lane]),
                product.eq(multiply(m, channel, weight, logic=logic)),
            ]
            with m.If(self.clear):
                m.d.sync += total.eq(0)
            with m.Elif(stages[1]):
                m.d.sync += total.eq(total + product)
            sums.append(total)

        # Quotients
        lane = Signal(range(self.width + 1), init=self.width)
        chosen = Signal(signed(SELECTOR.sum_bits))
        moving = Signal(1 + requantize.latency)
        m.d.sync += [
            chosen.eq(Array([*sums, Const(0, signed(SELECTOR.sum_bits))])[lane]),
            moving.eq(moving << 1 | (lane != self.width)),
        ]
        with m.If(self.finish):
            m.d.sync += lane.eq(0)
        with m.Elif(lane != self.width):
            m.d.sync += lane.eq(lane + 1)
        m.d.comb += [
            requantize.enable.eq(1),
            requantize.x.eq(chosen),
            requantize.multiplier.eq(scale.multiplier),
            requantize.shift.eq(scale.shift),
            self.finished.eq(moving[-1] & ~moving[-2]),
        ]
        with m.If(moving[-1]):
            m.d.sync += self.word.eq(Cat(self.word[RESIDUAL.bits :], requantize.o))
        return m
