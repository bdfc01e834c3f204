"""Many error sources, one report."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ERROR

__all__ = ["ErrorCollector"]


class ErrorCollector(wiring.Component):
    """Reports the first valid source, two cycles later; the lowest index wins within a cycle.

    Sources are late in their cycle and come from everywhere: they rest in registers of their own.

    Members
    -------
    i : the sources.
    pending : a source was valid in the cycle before: the run must not end well.
    o : the report; the run stops at the first cycle in which it is valid.
    """

    def __init__(self, *, sources: int) -> None:
        self._sources = sources
        super().__init__({"i": In(ERROR).array(sources), "pending": Out(1), "o": Out(ERROR)})

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        seen = [Signal(ERROR, name=f"seen_{number}") for number in range(self._sources)]
        m.d.sync += [error.eq(source) for error, source in zip(seen, self.i, strict=True)]
        m.d.comb += self.pending.eq(Cat(error.valid for error in seen).any())
        m.d.sync += self.o.valid.eq(0)
        for error in reversed(seen):
            with m.If(error.valid):
                m.d.sync += self.o.eq(error)
        return m
