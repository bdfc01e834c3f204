"""Attention's own sources beside the index engine, and one stream of steps from all of them."""

from amaranth.hdl import Module
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.attention_interfaces import (
    WalkSource,
    attention_walk_layout,
    entries_layout,
    prob_index_bits,
)
from rtl_gen.index_engine.lists import ListSource
from rtl_gen.index_engine.prob_rows import ProbRows
from rtl_gen.interfaces import step_layout, walk_layout
from spec.formats import PROB

__all__ = ["WalkSources"]


class WalkSources(wiring.Component):
    """Deals walks to their sources, and takes the steps in the order of the walks.

    A source prepares its next steps while another one's are taken. Latency and throughput: those
    of the sources; no cycle is lost between walks that wait. Back-pressure: up to four walks.

    pairs : there are lists; skip_zeros : see `Softmax`

    Members
    -------
    walk : of any source
    rows_walk, rows_step : to and from the index engine
    entries : steps of lists (with `pairs`)
    prob_enable, prob_address, probs, prob_index : read port of the packed probability ring
    step : all sources' steps
    """

    def __init__(
        self,
        *,
        banks: int,
        prob_words: int,
        max_head_words: int,
        pairs: bool = False,
        skip_zeros: bool = False,
    ) -> None:
        self.banks, self.pairs, self.max_head_words = banks, pairs, max_head_words
        index_bits = prob_index_bits(prob_words, pairs, skip_zeros)
        self.prob_rows = ProbRows(
            banks=banks,
            prob_words=prob_words,
            index_bits=index_bits,
            max_head_words=max_head_words,
        )
        super().__init__(
            {
                "walk": In(stream.Signature(attention_walk_layout(banks, prob_words))),
                "rows_walk": Out(stream.Signature(walk_layout(True))),
                "rows_step": In(stream.Signature(step_layout(banks, True))),
                **({"entries": In(stream.Signature(entries_layout(banks)))} if pairs else {}),
                "prob_enable": Out(1),
                "prob_address": Out(range(prob_words)),
                "probs": In(data.ArrayLayout(PROB.bits, banks)),
                "prob_index": In(data.ArrayLayout(index_bits, banks)),
                "step": Out(stream.Signature(step_layout(banks, True, pairs))),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        m.submodules.order = order = fifo.SyncFIFO(
            width=len(self.walk.p.source.as_value()), depth=4
        )
        m.submodules.prob_rows = probs = self.prob_rows
        sources = {
            WalkSource.ROWS: (self.rows_walk, self.rows_step),
            WalkSource.PROBS: (probs.walk, probs.step),
        }
        if self.pairs:
            m.submodules.lists = lists = ListSource(
                banks=self.banks, max_head_words=self.max_head_words
            )
            connect(m, flipped(self.entries), lists.entries)
            sources[WalkSource.LISTS] = (lists.walk, lists.step)
        m.d.comb += [
            probs.row.eq(self.walk.p.row),
            self.prob_enable.eq(probs.enable),
            self.prob_address.eq(probs.address),
            probs.probs.eq(self.probs),
            probs.index.eq(self.prob_index),
            order.w_data.eq(self.walk.p.source),
            order.w_en.eq(self.walk.valid & self.walk.ready),
            order.r_en.eq(self.step.valid & self.step.ready & self.step.p.last),
        ]
        at_work = View(data.StructLayout({"source": WalkSource}), order.r_data).source
        for name, (walk, step) in sources.items():
            for field in walk.p.shape().members:
                m.d.comb += walk.p[field].eq(self.walk.p[field])
            with m.If(self.walk.p.source == name):
                m.d.comb += [
                    walk.valid.eq(self.walk.valid & order.w_rdy),
                    self.walk.ready.eq(walk.ready & order.w_rdy),
                ]
            with m.If(order.r_rdy & (at_work == name)):
                m.d.comb += [self.step.valid.eq(step.valid), step.ready.eq(self.step.ready)]
                m.d.comb += [
                    self.step.p[field].eq(step.p[field]) for field in step.p.shape().members
                ]
        return m
