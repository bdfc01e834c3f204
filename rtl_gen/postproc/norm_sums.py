"""Sum and sum of squares of a row."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.primitives.multiply import add, multiply_parts
from spec.formats import NORM, RESIDUAL

__all__ = ["NormSums"]


SQUARE_PARTS = 4
"""Sums that make a square together, where it is made of adders."""


class NormSums(wiring.Component):
    """Adds up `lanes` channels of a row a cycle.

    Golden twin: the sums `golden_model.units.layer_norm.layer_norm` takes. Latency: `LATENCY`
    cycles from a row's last channels. Throughput: `lanes` channels a cycle, no cycles lost
    between rows. No back-pressure.

    Members
    -------
    valid, values, last : RESIDUALs of a row, and whether they are its last
    result_valid, total, square_total : sums of a whole row
    """

    LATENCY = 3

    def __init__(self, *, lanes: int, logic_multipliers: bool = False) -> None:
        self.lanes = lanes
        self.logic_multipliers = logic_multipliers
        super().__init__(
            {
                "valid": In(1),
                "values": In(data.ArrayLayout(signed(RESIDUAL.bits), lanes)),
                "last": In(1),
                "result_valid": Out(1),
                "total": Out(signed(NORM.sum_bits)),
                "square_total": Out(NORM.square_sum_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build three stages: square, add the lanes, accumulate."""
        m = Module()
        growth = (self.lanes - 1).bit_length()
        valid, last, first = Signal(2), Signal(2), Signal(init=1)
        m.d.sync += [
            valid.eq(valid << 1 | self.valid),
            last.eq(last << 1 | self.last),
            self.result_valid.eq(valid[1] & last[1]),
        ]

        values, squares = [], []
        for lane in range(self.lanes):
            value = Signal(signed(RESIDUAL.bits), name=f"value_{lane}")
            x = self.values[lane]
            m.d.sync += value.eq(x)
            values.append(value)
            parts = multiply_parts(m, x, x, parts=SQUARE_PARTS, logic=self.logic_multipliers)
            if len(parts) == 1:
                squares.append(Signal(2 * RESIDUAL.bits - 1, name=f"square_{lane}"))
            else:
                squares += [
                    Signal.like(part, name=f"square_{lane}_{number}")
                    for number, part in enumerate(parts)
                ]
            m.d.sync += [
                square.eq(part) for square, part in zip(squares[-len(parts) :], parts, strict=True)
            ]

        lane_total = Signal(signed(RESIDUAL.bits + growth))
        lane_square_total = Signal(2 * RESIDUAL.bits - 1 + growth)
        m.d.sync += [lane_total.eq(add(values)), lane_square_total.eq(add(squares))]

        with m.If(valid[1]):
            m.d.sync += [
                self.total.eq(Mux(first, 0, self.total) + lane_total),
                self.square_total.eq(Mux(first, 0, self.square_total) + lane_square_total),
                first.eq(last[1]),
            ]
        return m
