"""The stationary query vector of reduce mode, double-buffered."""

from amaranth.hdl import Array, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.sequencer.operand_reader import operand_layout

__all__ = ["QueryBuffer"]


class QueryBuffer(wiring.Component):
    """Holds two query rows: one in use, the next one being filled, foreign lanes set to zero.

    A row goes through three marks: loaded (filled, may be scheduled), scheduled, done (free again).

    Members
    -------
    words : stream of operand words; a row ends with `last`.
    accept : query rows are being read (otherwise the words belong to somebody else).
    head_dim, first_lane : the lanes a head owns in its words.
    loaded : the next row to schedule is complete; `schedule` takes it.
    done : the row in use has been used for the last time.
    word, vector : the inner word wanted of the row in use, and its lanes.
    """

    def __init__(self, *, lanes: int, max_head_words: int) -> None:
        self._lanes = lanes
        self._words = max_head_words
        super().__init__(
            {
                "words": In(stream.Signature(operand_layout(lanes))),
                "accept": In(1),
                "head_dim": In(8),
                "first_lane": In(8),
                "loaded": Out(1),
                "schedule": In(1),
                "done": In(1),
                "word": In(4),
                "vector": Out(data.ArrayLayout(8, lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        lanes = self._lanes
        row = data.ArrayLayout(lanes * 8, self._words)
        buffers = Signal(data.ArrayLayout(row, 2))
        occupied = Signal(2)
        loaded = Signal(2)
        fill, next_row, use = Signal(), Signal(), Signal()
        index = Signal(range(max(self._words, 2)))
        lanes_before = Signal(8)

        taken = Signal()
        masked = Signal(data.ArrayLayout(8, lanes))
        own_lanes = Signal(9)
        m.d.comb += [
            self.words.ready.eq(self.accept & ~occupied.bit_select(fill, 1)),
            taken.eq(self.words.valid & self.words.ready),
            own_lanes.eq(self.head_dim - lanes_before),
        ]
        for lane in range(lanes):
            owned = (lane >= self.first_lane) & (Const(lane, 9) < self.first_lane + own_lanes)
            m.d.comb += masked[lane].eq(
                Mux(owned, self.words.p.data.word_select(lane, 8), Const(0, 8))
            )
        with m.If(taken):
            for which in range(2):
                for word in range(self._words):
                    with m.If((fill == which) & (index == word)):
                        m.d.sync += buffers[which][word].eq(masked)
            m.d.sync += [index.eq(index + 1), lanes_before.eq(lanes_before + lanes)]
            with m.If(self.words.p.last):
                m.d.sync += [
                    index.eq(0),
                    lanes_before.eq(0),
                    fill.eq(~fill),
                    occupied.bit_select(fill, 1).eq(1),
                    loaded.bit_select(fill, 1).eq(1),
                ]
        m.d.comb += self.loaded.eq(loaded.bit_select(next_row, 1))
        with m.If(self.schedule):
            m.d.sync += [loaded.bit_select(next_row, 1).eq(0), next_row.eq(~next_row)]
        with m.If(self.done):
            m.d.sync += [occupied.bit_select(use, 1).eq(0), use.eq(~use)]
        in_use = Signal(row)
        m.d.comb += [
            in_use.eq(Mux(use, buffers[1].as_value(), buffers[0].as_value())),
            self.vector.eq(Array([in_use[i] for i in range(self._words)])[self.word]),
        ]
        return m
