"""Sigmoid in straight pieces: compares, shifts and one addition."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spec.formats import SELECTOR

__all__ = ["PlanSigmoid"]

ONE = 1 << SELECTOR.share_bits
X_BITS = 16


class PlanSigmoid(wiring.Component):
    """PLAN, with `y(-x) = 1 - y(x)`.

    Golden twin: `golden_model.units.token_score.plan_sigmoid`. Latency: `LATENCY` cycles.
    Throughput: one a cycle. No back-pressure.

    Members
    -------
    x : int16, in units of 2**-8
    y : 0 .. 256, in units of 2**-8, `LATENCY` cycles later
    """

    LATENCY = 1

    x: In(signed(X_BITS))
    y: Out(SELECTOR.share_bits + 1)

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        size = Signal(X_BITS + 1)
        y = Signal(SELECTOR.share_bits + 1)
        m.d.comb += size.eq(Mux(self.x < 0, -self.x, self.x))
        with m.If(size >= SELECTOR.plan_end):
            m.d.comb += y.eq(ONE)
        for start, shift, offset in SELECTOR.plan:
            with m.Elif(size >= start) if start else m.Else():
                m.d.comb += y.eq((size >> shift) + offset)
        m.d.sync += self.y.eq(Mux(self.x < 0, ONE - y, y))
        return m
