"""The stationary query vectors of reduce mode, double-buffered."""

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.sequencer.operand_reader import operand_layout

__all__ = ["QueryBuffer"]


class QueryBuffer(wiring.Component):
    """Holds two query rows: one in use, the next one being filled, foreign lanes set to zero.

    With `pairs` it holds four rows, and two of them can be in use at a time. A row goes through
    three marks: loaded (filled, may be scheduled), scheduled, done (free again).

    Members
    -------
    words : stream of operand words; a row ends with `last`.
    accept : query rows are being read (otherwise the words belong to somebody else).
    head_dim, first_lane : the lanes a head owns in its words, from the cycle before the first word.
    loaded : the next row to schedule is complete; `schedule` takes it.
    done : the row in use has been used for the last time.
    word, vector : the inner word wanted of the row in use, and its lanes.

    With `pairs`:
    both_loaded : likewise, the two next rows; with `schedule_both`, `schedule` takes both.
    both : two rows are in use, and `done`; `second_vector` is the second one's word, or else the
        only one's.
    """

    def __init__(self, *, lanes: int, max_head_words: int, pairs: bool = False) -> None:
        self._pairs = pairs
        self._lanes = lanes
        self._words = max_head_words
        both = {
            "both_loaded": Out(1),
            "schedule_both": In(1),
            "both": In(1),
            "second_vector": Out(data.ArrayLayout(8, lanes)),
        }
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
                **(both if pairs else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        lanes = self._lanes
        row = data.ArrayLayout(lanes * 8, self._words)
        rows = 4 if self._pairs else 2
        buffers = Signal(data.ArrayLayout(row, rows), reset_less=True)
        occupied = Signal(rows)
        loaded = Signal(rows)
        fill, next_row, use = (Signal(range(rows), name=name) for name in ("fill", "next", "use"))
        after_next, after_use = Signal.like(next_row), Signal.like(use)
        index = Signal(range(max(self._words, 2)))
        lanes_before, before_next = Signal(8), Signal(8)

        taken = Signal()
        masked = Signal(data.ArrayLayout(8, lanes))
        own_lanes, owned = Signal(9), Signal(lanes)
        """Lanes that the head has from the next word on, and its lanes of this word."""
        m.d.comb += [
            self.words.ready.eq(self.accept & ~occupied.bit_select(fill, 1)),
            taken.eq(self.words.valid & self.words.ready),
            before_next.eq(
                Mux(taken, Mux(self.words.p.last, 0, lanes_before + lanes), lanes_before)
            ),
            own_lanes.eq(self.head_dim - before_next),
        ]
        m.d.sync += lanes_before.eq(before_next)
        for lane in range(lanes):
            m.d.sync += owned[lane].eq(
                (lane >= self.first_lane) & (Const(lane, 9) < self.first_lane + own_lanes)
            )
            m.d.comb += masked[lane].eq(
                Mux(owned[lane], self.words.p.data.word_select(lane, 8), Const(0, 8))
            )
        with m.If(taken):
            for which in range(rows):
                for word in range(self._words):
                    with m.If((fill == which) & (index == word)):
                        m.d.sync += buffers[which][word].eq(masked)
            m.d.sync += index.eq(index + 1)
            with m.If(self.words.p.last):
                m.d.sync += [
                    index.eq(0),
                    fill.eq(fill + 1),
                    occupied.bit_select(fill, 1).eq(1),
                    loaded.bit_select(fill, 1).eq(1),
                ]
        m.d.comb += [
            after_next.eq(next_row + 1),
            after_use.eq(use + 1),
            self.loaded.eq(loaded.bit_select(next_row, 1)),
            self.vector.eq(self._word(buffers, use)),
        ]
        with m.If(self.schedule):
            m.d.sync += [loaded.bit_select(next_row, 1).eq(0), next_row.eq(after_next)]
        with m.If(self.done):
            m.d.sync += [occupied.bit_select(use, 1).eq(0), use.eq(after_use)]
        if self._pairs:
            m.d.comb += [
                self.both_loaded.eq(self.loaded & loaded.bit_select(after_next, 1)),
                self.second_vector.eq(
                    Mux(self.both, self._word(buffers, after_use), self.vector.as_value())
                ),
            ]
            with m.If(self.schedule & self.schedule_both):
                m.d.sync += [loaded.bit_select(after_next, 1).eq(0), next_row.eq(next_row + 2)]
            with m.If(self.done & self.both):
                m.d.sync += [occupied.bit_select(after_use, 1).eq(0), use.eq(use + 2)]
        return m

    def _word(self, buffers: Signal, row: Signal) -> Value:
        """The wanted inner word of a row."""
        words = (
            Array(buffers[number][word] for number in range(1 << len(row)))[row]
            for word in range(self._words)
        )
        return Array(words)[self.word]
