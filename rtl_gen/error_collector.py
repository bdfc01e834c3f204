"""Many error sources, one report."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ERROR

__all__ = ["ErrorCollector"]


class ErrorCollector(wiring.Component):
    """Reports the first valid source, one cycle later; the lowest index wins within a cycle.

    Members
    -------
    i : the sources.
    o : the report; the run stops at the first cycle in which it is valid.
    """

    def __init__(self, *, sources: int) -> None:
        self._sources = sources
        super().__init__({"i": In(ERROR).array(sources), "o": Out(ERROR)})

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        m.d.sync += self.o.valid.eq(0)
        for source in reversed(self.i):
            with m.If(source.valid):
                m.d.sync += self.o.eq(source)
        return m
