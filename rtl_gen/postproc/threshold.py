"""DynaTran's threshold: small values become zero."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Threshold"]


class Threshold(wiring.Component):
    """0 instead of values whose magnitude is at most `limit`.

    Golden twin: `golden_model.units.threshold`. Combinational.

    x_bits : bits of x, signed
    limit_bits : bits of the limit

    Members: `x`, `limit`, `o` and `cleared` (x was not 0, and o is).
    """

    def __init__(self, *, x_bits: int, limit_bits: int) -> None:
        self._bits = x_bits
        super().__init__(
            {
                "x": In(signed(x_bits)),
                "limit": In(limit_bits),
                "o": Out(signed(x_bits)),
                "cleared": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Compare both signs at once, then choose."""
        m = Module()
        small = Signal()
        m.d.comb += [
            small.eq(Mux(self.x < 0, self.x + self.limit >= 0, self.x <= self.limit)),
            self.cleared.eq(small & (self.x != 0)),
            self.o.eq(Mux(small, 0, self.x)),
        ]
        return m
