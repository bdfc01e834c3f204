"""GELU as x times a quartic approximation of the normal distribution function."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.primitives.multiply import add, multiply, multiply_parts
from rtl_gen.primitives.round_shift import round_shift
from spec.formats import GELU, RESIDUAL

__all__ = ["Gelu"]

PARTS = 4
"""Sums that make the last product together, where adders make it."""


class Gelu(wiring.Component):
    """`u * Phi(u)` where `Phi(-u)` is the fourth power of what lacks to the knee; or u itself.

    Golden twin: `golden_model.units.gelu`. Latency: `LATENCY` cycles with `enable` high, one
    result a cycle; a cycle with `enable` low stops the whole pipeline.

    logic : multiply in LUTs

    Members: `u` in units of `GELU.input_unit` and, in the same cycle, `linear`: the result is u
    itself, unscaled; `o` in a quarter of that unit otherwise.
    """

    LATENCY = 5

    def __init__(self, *, logic: bool = False) -> None:
        self._logic = logic
        super().__init__(
            {
                "enable": In(1),
                "u": In(signed(RESIDUAL.bits)),
                "linear": In(1),
                "o": Out(signed(GELU.output_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Stages: distance to the knee, square, fourth power, complement, product."""
        m = Module()

        u, linear = [self.u], [self.linear]
        for stage in range(1, self.LATENCY):
            u.append(Signal.like(self.u, name=f"u_{stage}", reset_less=True))
            linear.append(Signal(name=f"linear_{stage}", reset_less=True))
            with m.If(self.enable):
                m.d.sync += [u[stage].eq(u[stage - 1]), linear[stage].eq(linear[stage - 1])]

        distance = Signal(signed(RESIDUAL.bits + 1))
        below = Signal(GELU.knee_bits, reset_less=True)
        square = Signal(2 * GELU.knee_bits - GELU.square_shift, reset_less=True)
        tail = Signal(2 * len(square) - GELU.fourth_shift, reset_less=True)
        m.d.comb += distance.eq(GELU.knee - Mux(self.u < 0, -self.u, self.u))
        second = multiply(m, below, below, logic=self._logic)
        fourth = multiply(m, square, square, logic=self._logic)
        with m.If(self.enable):
            m.d.sync += [
                below.eq(Mux(distance < 0, 0, distance)),
                square.eq(round_shift(second, GELU.square_shift)),
                tail.eq(round_shift(fourth, GELU.fourth_shift)),
            ]
        if self._logic:
            self._late_product(m, u, tail, linear)
            return m
        phi = Signal(unsigned(GELU.fourth_bits + 1), reset_less=True)
        with m.If(self.enable):
            m.d.sync += [
                phi.eq(Mux(u[3] > 0, (1 << GELU.fourth_bits) - tail, tail)),
                self.o.eq(round_shift(u[4] * phi, GELU.output_shift)),
            ]
            with m.If(linear[3]):
                m.d.sync += phi.eq(1 << GELU.output_shift)
        return m

    def _late_product(self, m: Module, u: list[Signal], tail: Signal, linear: list[Signal]) -> None:
        """`o` from adders: `u * Phi(u)` as parts of `u * tail`, begun beside Phi's stage.

        Behind the knee's middle Phi is 1 - tail: u less the product of u and the tail.
        """
        turned = Signal.like(self.u, reset_less=True)
        base = Signal(signed(RESIDUAL.bits + GELU.fourth_bits), reset_less=True)
        held = []
        with m.If(self.enable):
            m.d.sync += [
                turned.eq(Mux(u[2] > 0, -u[2], u[2])),
                base.eq(Mux(u[3] > 0, u[3] << GELU.fourth_bits, 0)),
            ]
            with m.If(linear[3]):
                m.d.sync += base.eq(u[3] << GELU.output_shift)
        for number, part in enumerate(multiply_parts(m, turned, tail, parts=PARTS)):
            held.append(Signal.like(part, name=f"part_{number}", reset_less=True))
            with m.If(self.enable):
                m.d.sync += held[-1].eq(Mux(linear[3], 0, part))
        with m.If(self.enable):
            m.d.sync += self.o.eq(round_shift(add([*held, base]), GELU.output_shift))
