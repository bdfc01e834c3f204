"""Chooses the next pass over the array: the scores of a row, its P.V, or a row of a layer."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out

from rtl_gen.attention_interfaces import WalkSource, attention_walk_layout
from rtl_gen.interfaces import ROWS_BITS, prob_row_layout, walk_layout
from rtl_gen.sequencer.array_step import pass_layout
from rtl_gen.sequencer.pair_walker import PAIR
from spec.isa import ATTENTION, FULLY_CONNECTED

__all__ = ["PassChoice"]

PASSES_AHEAD = 4


class PassChoice(wiring.Component):
    """Pushes walks, and tells of each pass when its steps come.

    A finished probability row goes first, a pass for each of its output words; otherwise the next
    row is scored, or the next pair of them, as soon as it is loaded and has ring space. P.V over
    a packed ring takes turns with scores: its rows are short, and the array takes scores while the
    epilogue works on a row.

    packed : the probability ring is, and walks name their sources; pairs : there are lists

    Members
    -------
    rows, next_is_attention, key_rows : when `active` rises, an instruction of so many rows begins,
        which these say in the cycle before
    active, is_attention, fc, attention : the one in hand; skips_zeros, of_lists : of its SIEVE
    loaded, both_loaded : the next query row, or the next two, are there
    pair : the next pair of queries (with `pairs`)
    reserve, prob_rows, walk : see `ArrayController`
    schedule, schedule_both : the next query row, or the next two, are scored
    pass_done : the last step of the pass in hand is taken
    current : the pass in hand
    quiet : no pass is on the way
    wanted : a row is wanted that is not there; all_pushed : no row is left; finished : nor a pass
    pushed : a pass begins
    """

    def __init__(
        self,
        *,
        banks: int,
        prob_words: int,
        sparse: bool = False,
        packed: bool = False,
        pairs: bool = False,
    ) -> None:
        self._banks, self._packed, self._pairs = banks, packed, pairs
        self._sparse = sparse
        self._layout = pass_layout(prob_words, pairs)
        rows = prob_row_layout(prob_words, banks if packed else 0)
        walk = attention_walk_layout(banks, prob_words) if packed else walk_layout(sparse)
        pair_ports = {
            "both_loaded": In(1),
            "pair": In(stream.Signature(PAIR)),
            "schedule_both": Out(1),
        }
        super().__init__(
            {
                "rows": In(ROWS_BITS),
                "next_is_attention": In(1),
                "key_rows": In(ROWS_BITS),
                "active": In(1),
                "is_attention": In(1),
                "fc": In(FULLY_CONNECTED),
                "attention": In(ATTENTION),
                "skips_zeros": In(1),
                "of_lists": In(1),
                "loaded": In(1),
                "reserve": Out(stream.Signature(16)),
                "prob_rows": In(stream.Signature(rows)),
                "walk": Out(stream.Signature(walk)),
                "schedule": Out(1),
                "pass_done": In(1),
                "current": Out(self._layout),
                "quiet": Out(1),
                "wanted": Out(1),
                "all_pushed": Out(1),
                "finished": Out(1),
                "pushed": Out(1),
                **(pair_ports if pairs else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        fc, attention, is_attention = self.fc, self.attention, self.is_attention
        m.submodules.passes = passes = fifo.SyncFIFO(width=self._layout.size, depth=PASSES_AHEAD)
        keys, key_words = Signal(ROWS_BITS), Signal(ROWS_BITS)
        rows_left, values_left = Signal(ROWS_BITS), Signal(ROWS_BITS)
        rows_wait, values_wait = Signal(), Signal()
        """Whether any are left: much hangs on these."""
        value_word = Signal(4)
        outstanding = Signal(range(PASSES_AHEAD + 1))

        of_value, of_row, row_possible = Signal(), Signal(), Signal()
        score_first = Signal()
        row_words, row_queries, row_ready = Signal(16), Signal(2), Signal()
        chosen = Signal(self._layout)
        last_word = value_word == attention.head_words - 1
        walk = self.walk.p
        if self._sparse:
            m.d.comb += [
                walk.search.eq(self.skips_zeros & ~is_attention),
                walk.zero_point.eq(fc.zero_point),
            ]
        m.d.comb += [
            row_words.eq(key_words),
            row_queries.eq(1),
            row_ready.eq(self.loaded),
            of_value.eq(self.active & values_wait & self.prob_rows.valid & ~score_first),
            row_possible.eq(self.active & rows_wait & ~of_value & (~is_attention | row_ready)),
            of_row.eq(row_possible & (~is_attention | self.reserve.ready)),
            self.reserve.payload.eq(row_words),
            self.reserve.valid.eq(row_possible & is_attention & passes.w_rdy & self.walk.ready),
            self.walk.valid.eq((of_value | of_row) & passes.w_rdy),
            self.pushed.eq(self.walk.valid & self.walk.ready),
            walk.base.eq(
                Mux(of_value, attention.value, Mux(is_attention, attention.key, fc.row)),
            ),
            walk.count.eq(Mux(is_attention, keys, fc.depth)),
            walk.stride.eq(Mux(is_attention, attention.head_words, 1)),
            walk.words.eq(Mux(is_attention & ~of_value, attention.head_words, 1)),
            walk.offset.eq(Mux(of_value, value_word, 0)),
            chosen.value.eq(of_value),
            chosen.reduce.eq(is_attention & ~of_value),
            chosen.word.eq(value_word),
            chosen.final.eq(of_value & last_word),
            chosen.prob_row.address.eq(self.prob_rows.p.address),
            chosen.prob_row.words.eq(self.prob_rows.p.words),
            passes.w_data.eq(chosen),
            passes.w_en.eq(self.pushed),
            passes.r_en.eq(self.pass_done),
            self.current.eq(View(self._layout, passes.r_data)),
            self.schedule.eq(self.pushed & is_attention & ~of_value),
            self.prob_rows.ready.eq(self.pushed & of_value & last_word),
        ]
        with m.If(self.pushed & of_value):
            m.d.sync += value_word.eq(value_word + 1)
            with m.If(last_word):
                m.d.sync += [
                    value_word.eq(0),
                    values_left.eq(values_left - 1),
                    values_wait.eq(values_left != 1),
                ]
        with m.Elif(self.pushed):
            m.d.sync += [
                rows_left.eq(rows_left - row_queries),
                rows_wait.eq(rows_left != row_queries),
            ]
        m.d.sync += outstanding.eq(outstanding + self.pushed - self.pass_done)
        with m.If(~self.active):
            m.d.sync += [
                keys.eq(self.key_rows),
                key_words.eq((self.key_rows + self._banks - 1) // self._banks),
                rows_left.eq(self.rows),
                rows_wait.eq(1),
                values_left.eq(self.rows),
                values_wait.eq(self.next_is_attention),
                value_word.eq(0),
            ]
        m.d.comb += [
            self.quiet.eq(outstanding == 0),
            self.wanted.eq(rows_wait & ~row_ready),
            self.all_pushed.eq(~rows_wait & ~values_wait),
            self.finished.eq(
                self.active & self.all_pushed & (self.quiet | ((outstanding == 1) & self.pass_done))
            ),
        ]
        if self._packed:
            turn, kept = Signal(), Signal()
            m.d.comb += [
                kept.eq(self.of_lists | (is_attention & self.skips_zeros)),
                score_first.eq(turn & rows_wait & row_ready & self.reserve.ready),
            ]
            with m.If(self.pushed):
                m.d.sync += turn.eq(kept & of_value & last_word)
            m.d.comb += [walk.source.eq(WalkSource.ROWS), walk.row.eq(self.prob_rows.payload)]
            with m.If(of_value & kept):
                m.d.comb += walk.source.eq(WalkSource.PROBS)
        if self._pairs:
            pair = self.pair.payload
            with m.If(self.of_lists):
                m.d.comb += [
                    row_words.eq(pair.steps),
                    row_queries.eq(1 + pair.both),
                    row_ready.eq(self.pair.valid & Mux(pair.both, self.both_loaded, self.loaded)),
                    chosen.pair.eq(~of_value),
                    chosen.both.eq(pair.both),
                    self.schedule_both.eq(pair.both),
                    self.pair.ready.eq(self.schedule),
                ]
                with m.If(~of_value):
                    m.d.comb += [walk.source.eq(WalkSource.LISTS), walk.count.eq(pair.steps)]
        return m
