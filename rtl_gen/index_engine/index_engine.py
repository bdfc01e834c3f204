"""The index engine: which row each bank reads next, and which scalar goes with it."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.index_engine.dense import DenseSource
from rtl_gen.interfaces import WALK, step_layout

__all__ = ["IndexEngine"]


class IndexEngine(wiring.Component):
    """Turns a `WALK` into array steps, with a row and a scalar address for each bank.

    Its sources share one interface; there is one, the dense counter. Latency, throughput and
    back-pressure are the source's: one cycle, one step a cycle, no bubble between walks.

    Members
    -------
    walk : WALK, one pass over a matrix
    step : step_layout(banks)
    """

    def __init__(self, *, banks: int) -> None:
        self.banks = banks
        super().__init__(
            {
                "walk": In(stream.Signature(WALK)),
                "step": Out(stream.Signature(step_layout(banks))),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        m.submodules.dense = dense = DenseSource(banks=self.banks)
        connect(m, flipped(self.walk), dense.walk)
        connect(m, dense.step, flipped(self.step))
        return m
