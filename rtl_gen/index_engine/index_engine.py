"""The index engine: which row each bank reads next, and which scalar goes with it."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.index_engine.dense import DenseSource
from rtl_gen.index_engine.nonzero import SEARCH_WORDS, NonzeroSource
from rtl_gen.interfaces import step_layout, walk_layout
from rtl_gen.sequencer.operand_reader import operand_layout

__all__ = ["IndexEngine"]


class IndexEngine(wiring.Component):
    """Turns a `WALK` into array steps, with a row and a scalar address for each bank.

    Its sources share one interface: the dense counter, and with `zero_skip` the search for
    scalars. A walk goes to its source when the other one has nothing in work. Latency, throughput
    and back-pressure are the source's.

    sparse : steps can be sparse, see `step_layout`; needed for `zero_skip`
    search_words : operand words in view of the search

    Members
    -------
    walk : WALK, one pass over a matrix
    step : step_layout(banks)
    words, passing : of the search, see `NonzeroSource` (with `zero_skip` only)
    """

    def __init__(
        self,
        *,
        banks: int,
        lanes: int = 1,
        sparse: bool = False,
        zero_skip: bool = False,
        search_words: int = SEARCH_WORDS,
    ) -> None:
        if zero_skip and not sparse:
            raise ValueError("zero_skip needs sparse steps")
        self.banks = banks
        self.lanes = lanes
        self.sparse = sparse
        self.zero_skip = zero_skip
        self.search_words = search_words
        search = {"words": In(stream.Signature(operand_layout(lanes))), "passing": Out(1)}
        super().__init__(
            {
                "walk": In(stream.Signature(walk_layout(sparse))),
                "step": Out(stream.Signature(step_layout(banks, sparse))),
                **(search if zero_skip else {}),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        m.submodules.dense = dense = DenseSource(banks=self.banks)
        if not self.sparse:
            connect(m, flipped(self.walk), dense.walk)
            connect(m, dense.step, flipped(self.step))
            return m
        for name in dense.walk.p.shape().members:
            m.d.comb += dense.walk.p[name].eq(self.walk.p[name])
        for name in dense.step.p.shape().members:
            m.d.comb += self.step.p[name].eq(dense.step.p[name])
        m.d.comb += [
            self.step.valid.eq(dense.step.valid),
            dense.step.ready.eq(self.step.ready),
            dense.walk.valid.eq(self.walk.valid),
            self.walk.ready.eq(dense.walk.ready),
        ]
        if self.zero_skip:
            self._connect_search(m, dense)
        return m

    def _connect_search(self, m: Module, dense: DenseSource) -> None:
        """Walks with `search` to the search; its steps when there are any."""
        m.submodules.nonzero = nonzero = NonzeroSource(
            banks=self.banks, lanes=self.lanes, words=self.search_words
        )
        connect(m, flipped(self.words), nonzero.words)
        searched = self.walk.p.search
        m.d.comb += [
            self.passing.eq(nonzero.passing),
            dense.walk.valid.eq(self.walk.valid & ~searched & ~nonzero.busy),
            nonzero.walk.payload.eq(self.walk.payload),
            nonzero.walk.valid.eq(self.walk.valid & searched & ~dense.step.valid),
            nonzero.step.ready.eq(self.step.ready),
        ]
        with m.If(searched):
            m.d.comb += self.walk.ready.eq(nonzero.walk.ready & ~dense.step.valid)
        with m.Else():
            m.d.comb += self.walk.ready.eq(dense.walk.ready & ~nonzero.busy)
        with m.If(nonzero.step.valid):
            m.d.comb += [self.step.valid.eq(1), self.step.payload.eq(nonzero.step.payload)]
