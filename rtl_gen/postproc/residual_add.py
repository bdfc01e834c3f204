"""Saturating addition to the residual stream."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spec.formats import RESIDUAL

__all__ = ["ResidualAdd"]


class ResidualAdd(wiring.Component):
    """`clip(h + delta)` to RESIDUAL.

    Golden twin: `golden_model.units.residual_add`. Combinational.

    Members: `h` (residual), `delta`, `o` (their sum) and `saturated` (the sum was clipped).
    """

    h: In(signed(RESIDUAL.bits))
    delta: In(signed(RESIDUAL.bits))
    o: Out(signed(RESIDUAL.bits))
    saturated: Out(1)

    def elaborate(self, platform: object) -> Module:
        """The two top bits of the exact sum differ when it does not fit."""
        m = Module()
        total = Signal(signed(RESIDUAL.bits + 1))
        m.d.comb += [
            total.eq(self.h + self.delta),
            self.saturated.eq(total[-1] ^ total[-2]),
            self.o.eq(
                Mux(
                    self.saturated,
                    Mux(total[-1], RESIDUAL.low, RESIDUAL.high),
                    total[: RESIDUAL.bits].as_signed(),
                )
            ),
        ]
        return m
