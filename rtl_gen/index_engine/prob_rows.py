"""The source of P.V over a packed ring: the value rows that a row's probabilities name."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ADDRESS_BITS, WALK, prob_row_layout, step_layout
from spec.formats import PROB

__all__ = ["ProbRows"]


class ProbRows(wiring.Component):
    """Turns a row of the packed probability ring into sparse steps, a ring word each.

    Bank word of an entry: base + index * stride + offset; a bank takes part as long as it has
    entries. The ring is read a step ahead. Latency: three cycles from the walk to its first step,
    none between walks that wait. Throughput: one step a cycle. Back-pressure: a step stays put
    until it is taken.

    Members
    -------
    walk, row : WALK of one output word, and the row of probabilities that goes with it
    enable, address, probs, index : read port of the ring: data one cycle later, held
    step : registered; `code` holds the probabilities
    """

    def __init__(
        self, *, banks: int, prob_words: int, index_bits: int, max_head_words: int
    ) -> None:
        self.banks, self.prob_words = banks, prob_words
        self.index_bits, self.max_head_words = index_bits, max_head_words
        super().__init__(
            {
                "walk": In(stream.Signature(WALK)),
                "row": In(prob_row_layout(prob_words, banks)),
                "enable": Out(1),
                "address": Out(range(prob_words)),
                "probs": In(data.ArrayLayout(PROB.bits, banks)),
                "index": In(data.ArrayLayout(index_bits, banks)),
                "step": Out(stream.Signature(step_layout(banks, True))),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """The word to read, the word that is read, the step."""
        m = Module()
        walk, step = self.walk, self.step
        words_bits = self.max_head_words.bit_length()

        # The word to read.
        active, begins, issue = Signal(), Signal(), Signal()
        row = Signal(self.row.shape())
        number = Signal(range(self.prob_words + 1))
        base, stride = Signal(ADDRESS_BITS), Signal(words_bits)
        ends = Signal()
        m.d.comb += [
            ends.eq(number + 1 == row.words),
            self.enable.eq(issue),
            self.address.eq(row.address + number),
            walk.ready.eq(~active | (issue & ends)),
        ]
        with m.If(walk.ready):
            m.d.sync += [
                active.eq(walk.valid),
                row.eq(self.row),
                number.eq(0),
                begins.eq(1),
                base.eq(walk.p.base + walk.p.offset),
                stride.eq(walk.p.stride),
            ]
        with m.Elif(issue):
            m.d.sync += [number.eq(number + 1), begins.eq(0)]

        # The word that is read.
        read, moves = Signal(), Signal()
        mark = Signal(data.StructLayout({"valid": self.banks, "first": 1, "last": 1}))
        read_base, read_stride = Signal.like(base), Signal.like(stride)
        m.d.comb += [
            moves.eq(read & (~step.valid | step.ready)),
            issue.eq(active & (~read | moves)),
        ]
        with m.If(issue):
            m.d.sync += [
                mark.valid.eq(Cat(number < count for count in row.counts)),
                mark.first.eq(begins),
                mark.last.eq(ends),
                read_base.eq(base),
                read_stride.eq(stride),
            ]
        m.d.sync += read.eq(issue | (read & ~moves))

        # The step.
        with m.If(moves):
            m.d.sync += [
                step.p.sparse.eq(1),
                step.p.group_first.eq(1),
                step.p.group_last.eq(1),
                step.p.valid.eq(mark.valid),
                step.p.first.eq(mark.first),
                step.p.last.eq(mark.last),
            ]
            for bank in range(self.banks):
                at = read_base + self.index[bank] * read_stride
                m.d.sync += [
                    step.p.address[bank].eq(at[:ADDRESS_BITS]),
                    step.p.code[bank].eq(self.probs[bank]),
                ]
        m.d.sync += step.valid.eq(moves | (step.valid & ~step.ready))
        return m
