"""Softmax of attention rows: logits, unnormalised probabilities, one requantizer a row."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.attention_interfaces import prob_index_bits
from rtl_gen.interfaces import (
    PC_BITS,
    ROW_SCALE,
    SOFTMAX_COMMAND,
    prob_row_layout,
    scores_layout,
)
from rtl_gen.postproc.exponential import Exponential
from rtl_gen.postproc.logit_rows import ROWS_IN_FLIGHT, LogitRows, row_use_layout
from rtl_gen.postproc.logits import Logits
from rtl_gen.postproc.prob_ring import ProbRing
from rtl_gen.postproc.row_scale import RowScale
from rtl_gen.postproc.softmax_thresholds import connect_thresholds
from rtl_gen.token_selector.collected_scores import SCORE_MULTIPLIER, SCORE_SHIFT
from spec.formats import LOGIT, PROB, SOFTMAX
from spec.isa import ScoreUse

__all__ = ["ROWS_IN_FLIGHT", "Softmax"]


def _chunk_layout(use: data.StructLayout, banks: int, index_bits: int) -> data.StructLayout:
    """What travels with the `score_lanes` logits in the exponential pipe."""
    entries = {"mask": banks, "index": data.ArrayLayout(index_bits, banks)}
    return data.StructLayout(
        {"word_end": 1, "row_end": 1, "use": use, **(entries if index_bits else {})}
    )


class Softmax(wiring.Component):
    """Base-2 softmax of score rows of any length, row by row, with rings in between.

    Golden twins: `requantize`, `probabilities` and `row_scale` of `golden_model.units`.
    Latency: `LATENCY` cycles from a row's last score word to `rows.valid`, for a row of one word;
    `row_scale` follows `RowScale.LATENCY` later. Throughput: one word of `banks` keys in
    banks / score_lanes cycles, both for scores and exponentials, no cycles lost between rows, seven
    between instructions.
    Back-pressure: `reserve` grants ring space before a row's scores come; `scores` then waits for
    nothing but its command. Exponentials wait for probability ring words, `rows` and `row_scale`.

    Members
    -------
    command : one an ATTENTION, of at least one row, taken when the rows of the last have entered
    reserve : words (keys / banks, rounded up) of a score row that is about to start
    scores : raw scores, masked; lanes not in the mask have probability 0
    scores_ready_next : what `scores.ready` will be in the next cycle
    rows : complete probability rows, in order
    prob_enable, prob_address, prob_data : read port of the probability ring, data one cycle later
    prob_index : likewise, of a packed ring: places of the keys
    release, release_words : P.V of the oldest row has finished; frees its words
    row_scale : requantizer of each row's P.V, in order
    trace_score, trace_prob : every word written to the two rings, masked lanes 0
    logit_saturations : logits clipped in this cycle

    With `cls_scores` only, for an instruction's first row if its `scores` say so:
    collect_ready : it may begin; until then it waits, with all rows behind it
    collect_begin, collect_use : it begins
    collect_word, collect_probs : a word of it, before its threshold
    collect_scaled, collect_scale : after all its words, its requantizer to SCORE

    With `pairs`, of an instruction that is `masked`: a score row is that of two queries (see
    `LogitRows`), `command.rows` counts queries, and each of them gets a row of its own.
    With `pairs` or `skip_zeros` the probability ring is packed (see `ProbRing`): rows of masked
    instructions hold the entries of their mask, those of instructions that skip zeros no zeros.
    zero_probs : probabilities that were left out because they are 0, in this cycle
    values_cleared : with `thresholds`: logits and probabilities that were made 0
    idle : no command, no row anywhere, all words released
    """

    def __init__(
        self,
        *,
        banks: int,
        score_lanes: int,
        score_words: int,
        prob_words: int,
        logic_multipliers: bool = False,
        cls_scores: bool = False,
        pairs: bool = False,
        skip_zeros: bool = False,
        thresholds: bool = False,
    ) -> None:
        self.cls_scores, self.thresholds = cls_scores, thresholds
        self.pairs, self.skip_zeros = pairs, skip_zeros
        self.index_bits = prob_index_bits(prob_words, pairs, skip_zeros)
        for name, value in (("score_words", score_words), ("prob_words", prob_words)):
            if value < 2 or value & (value - 1):
                raise ValueError(f"{name} must be a power of two, not {value}")
        if banks % score_lanes:
            raise ValueError(f"score_lanes must divide banks ({banks}), not {score_lanes}")
        self.banks = banks
        self.score_lanes = score_lanes
        self.score_words = score_words
        self.prob_words = prob_words
        self.logic_multipliers = logic_multipliers
        self.LATENCY = Logits.LATENCY + Exponential.LATENCY + 3 + banks // score_lanes
        packed = {
            "prob_index": Out(data.ArrayLayout(self.index_bits, banks)),
            "zero_probs": Out(range(banks + 1)),
        }
        collect = {
            "collect_ready": In(1),
            "collect_begin": Out(1),
            "collect_use": Out(ScoreUse),
            "collect_word": Out(1),
            "collect_probs": Out(data.ArrayLayout(PROB.bits, banks)),
            "collect_scaled": Out(1),
            "collect_scale": Out(ROW_SCALE),
        }
        super().__init__(
            {
                "command": In(stream.Signature(SOFTMAX_COMMAND)),
                "reserve": In(stream.Signature(16)),
                "scores": In(stream.Signature(scores_layout(banks, pairs))),
                "scores_ready_next": Out(1),
                "rows": Out(
                    stream.Signature(prob_row_layout(prob_words, banks if self.index_bits else 0))
                ),
                "prob_enable": In(1),
                "prob_address": In(range(prob_words)),
                "prob_data": Out(data.ArrayLayout(PROB.bits, banks)),
                "release": In(1),
                "release_words": In(16),
                "row_scale": Out(stream.Signature(ROW_SCALE)),
                "trace_score": Out(
                    data.StructLayout(
                        {
                            "valid": 1,
                            "pc": PC_BITS,
                            "data": banks * LOGIT.bits,
                            "mask": banks,
                        }
                    )
                ),
                "trace_prob": Out(
                    data.StructLayout({"valid": 1, "pc": PC_BITS, "data": banks * PROB.bits})
                ),
                "logit_saturations": Out(range(score_lanes + 1)),
                "idle": Out(1),
                **(collect if cls_scores else {}),
                **(packed if self.index_bits else {}),
                **({"values_cleared": Out(range(2 * score_lanes + 1))} if thresholds else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Logits into their ring; exponentials from there into the other; a requantizer a row."""
        m = Module()
        multipliers = {"logic_multipliers": self.logic_multipliers}
        thresholds = {"thresholds": self.thresholds}
        use_layout = row_use_layout(self.cls_scores, self.pairs, self.skip_zeros, **thresholds)
        chunk_layout = _chunk_layout(use_layout, self.banks, self.index_bits)
        m.submodules.logits = logits = Logits(
            banks=self.banks,
            lanes=self.score_lanes,
            pairs=self.pairs,
            split=self.logic_multipliers,
            **thresholds,
        )
        m.submodules.exponential = exponential = Exponential(
            lanes=self.score_lanes, **multipliers, **thresholds
        )
        m.submodules.row_scaler = row_scaler = RowScale(**multipliers)
        m.submodules.logit_rows = logit_rows = LogitRows(
            banks=self.banks,
            lanes=self.score_lanes,
            words=self.score_words,
            use=use_layout,
            pairs=self.pairs,
            index_bits=self.index_bits,
        )
        m.submodules.prob_ring = prob_ring = ProbRing(
            banks=self.banks, words=self.prob_words, index_bits=self.index_bits
        )
        m.submodules.rows_fifo = rows_fifo = fifo.SyncFIFO(
            width=self.rows.payload.shape().size, depth=ROWS_IN_FLIGHT
        )
        m.submodules.scale_fifo = scale_fifo = fifo.SyncFIFO(
            width=ROW_SCALE.size, depth=ROWS_IN_FLIGHT
        )

        # Scores to the logit ring -----------------------------------------------------------
        command = Signal(SOFTMAX_COMMAND)
        active = Signal()
        rows_left = Signal.like(command.rows)
        given, ends = self.scores.valid & self.scores.ready, Signal()
        """The last word of a row is, and of the instruction."""
        m.d.comb += [
            self.command.ready.eq(~active & ~logits.busy),
            logits.enable.eq(active & ~ends),
            logits.multiplier.eq(command.score_multiplier),
            logits.shift.eq(command.score_shift),
            logits.scores.payload.eq(self.scores.payload),
            logits.scores.valid.eq(self.scores.valid),
            self.scores.ready.eq(logits.scores.ready),
            self.scores_ready_next.eq(logits.ready_next),
        ]
        with m.If(self.command.ready):
            # all the time, since `valid` comes late in the cycle
            m.d.sync += [
                command.eq(self.command.payload),
                active.eq(self.command.valid),
                rows_left.eq(self.command.payload.rows),
            ]
        ended = self._ended_rows(m, given) if self.pairs else Const(1, 1)
        m.d.comb += ends.eq(given & self.scores.payload.last & (rows_left == ended))
        with m.If(given & self.scores.payload.last):
            m.d.sync += [rows_left.eq(rows_left - ended), active.eq(~ends)]

        for name in use_layout.members:
            m.d.comb += logit_rows.use[name].eq(command[name])
        for name in ("values", "mask", "last", "maximum", "present"):
            m.d.comb += getattr(logit_rows, name).eq(getattr(logits, name))
        if self.pairs:
            m.d.comb += [
                logit_rows.second.eq(logits.second),
                logit_rows.group_write.eq(given),
                logit_rows.group.eq(self.scores.payload.tag.group),
            ]
        m.d.comb += [
            logit_rows.write.eq(logits.valid),
            self.trace_score.valid.eq(logits.valid),
            self.trace_score.pc.eq(command.pc),
            self.trace_score.data.eq(logits.values),
            self.trace_score.mask.eq(logits.mask),
            self.logit_saturations.eq(logits.saturations),
        ]
        connect(m, flipped(self.reserve), logit_rows.reserve)

        # Words of complete rows to the exponentials; what is fetched here is never held up ----
        fetch, starts = logit_rows.fetch, logit_rows.starts
        prob_free = Signal(range(self.prob_words + 1), init=self.prob_words)
        rows_free = Signal(range(ROWS_IN_FLIGHT + 1), init=ROWS_IN_FLIGHT)
        scales_free = Signal(range(ROWS_IN_FLIGHT + 1), init=ROWS_IN_FLIGHT)
        may_start = Signal(init=1)
        m.d.comb += [
            logit_rows.may_fetch.eq(prob_free != 0),
            logit_rows.may_start.eq((rows_free != 0) & (scales_free != 0) & may_start),
        ]

        # Exponentials to the probability ring ---------------------------------------------------
        travelling = [
            Signal(chunk_layout, name=f"chunk_{at}") for at in range(exponential.LATENCY + 1)
        ]
        first, done = travelling[0], travelling[-1]
        m.d.comb += [
            first.word_end.eq(logit_rows.word_end),
            first.row_end.eq(logit_rows.row_end),
            first.use.eq(logit_rows.row_use),
            exponential.valid.eq(logit_rows.valid),
            exponential.maximum.eq(logit_rows.row_maximum),
            exponential.logits.eq(logit_rows.logits),
            exponential.mask.eq(logit_rows.lane_mask),
        ]
        if self.index_bits:
            m.d.comb += [
                first.mask.eq(logit_rows.word_mask),
                first.index.eq(logit_rows.word_index),
            ]
        m.d.sync += [after.eq(before) for before, after in pairwise(travelling)]

        prob_word = Signal(self.banks * PROB.bits)
        finished = Signal(chunk_layout)
        use = finished.use
        word_done, row_done, row_starts = Signal(), Signal(), Signal(init=1)
        total = Signal(SOFTMAX.sum_bits)
        rescale, rescaled = Signal(), Signal()
        """The row's sum makes a second requantizer, to SCORE; it comes out."""
        m.d.sync += [
            finished.eq(done),
            word_done.eq(exponential.result_valid & done.word_end),
            row_done.eq(exponential.result_valid & done.row_end),
        ]
        with m.If(exponential.result_valid):
            m.d.sync += [
                prob_word.eq(Cat(prob_word, exponential.probs)[-len(prob_word) :]),
                total.eq(Mux(row_starts, 0, total) + exponential.total),
                row_starts.eq(done.row_end),
            ]
        m.d.comb += [
            prob_ring.write.eq(word_done),
            prob_ring.last.eq(row_done),
            prob_ring.probs.eq(prob_word),
            self.trace_prob.valid.eq(word_done),
            self.trace_prob.pc.eq(use.pc),
            self.trace_prob.data.eq(prob_word),
            rows_fifo.w_en.eq(row_done),
            rows_fifo.w_data.eq(prob_ring.row),
            row_scaler.valid.eq(row_done | rescale),
            row_scaler.total.eq(total),
            row_scaler.output_multiplier.eq(Mux(rescale, SCORE_MULTIPLIER, use.output_multiplier)),
            row_scaler.output_shift.eq(Mux(rescale, SCORE_SHIFT, use.output_shift)),
            scale_fifo.w_en.eq(row_scaler.result_valid & ~rescaled),
            scale_fifo.w_data.eq(row_scaler.scale),
        ]
        raw_word = prob_word
        if self.thresholds:
            raw_word = connect_thresholds(m, self, logits, exponential, command, travelling[-2].use)
        unused = self._pack(m, prob_ring, prob_word, finished) if self.index_bits else Const(0, 1)

        if self.cls_scores:
            # A row that becomes scores: when it may start, and its sum once more, in the cycle
            # after the first time: the next row is fetched a cycle later, so the scaler is free
            first_row, gap = Signal(init=1), Signal()
            wanted = logit_rows.next_use.scores != ScoreUse.NONE
            collects = first_row & ~command.masked if self.pairs else first_row
            delay = Signal(RowScale.LATENCY)
            with m.If(self.command.valid & self.command.ready):
                m.d.sync += first_row.eq(1)
            with m.If(logits.last):
                m.d.sync += first_row.eq(0)
            m.d.comb += [
                logit_rows.use.scores.eq(Mux(collects, command.scores, ScoreUse.NONE)),
                may_start.eq(~gap & (~wanted | self.collect_ready)),
                self.collect_begin.eq(fetch & starts & wanted),
                self.collect_use.eq(logit_rows.next_use.scores),
                self.collect_word.eq(word_done & (use.scores != ScoreUse.NONE)),
                self.collect_probs.eq(raw_word),
                rescaled.eq(delay[-1]),
                self.collect_scaled.eq(row_scaler.result_valid & rescaled),
                self.collect_scale.eq(row_scaler.scale),
            ]
            m.d.sync += [
                gap.eq(fetch & logit_rows.ends & wanted),
                rescale.eq(row_done & (use.scores != ScoreUse.NONE)),
                delay.eq(delay << 1 | rescale),
            ]

        # Outputs, and what is free ----------------------------------------------------------------
        m.d.comb += [
            prob_ring.enable.eq(self.prob_enable),
            prob_ring.address.eq(self.prob_address),
            self.prob_data.eq(prob_ring.read_probs),
            self.rows.valid.eq(rows_fifo.r_rdy),
            self.rows.payload.eq(rows_fifo.r_data),
            rows_fifo.r_en.eq(self.rows.ready),
            self.row_scale.valid.eq(scale_fifo.r_rdy),
            self.row_scale.payload.eq(scale_fifo.r_data),
            scale_fifo.r_en.eq(self.row_scale.ready),
            self.idle.eq(
                ~active
                & ~logits.busy
                & logit_rows.idle
                & (prob_free == self.prob_words)
                & (rows_free == ROWS_IN_FLIGHT)
                & (scales_free == ROWS_IN_FLIGHT)
            ),
        ]
        kept_free = prob_free - fetch + unused
        kept_rows, kept_scales = rows_free - (fetch & starts), scales_free - (fetch & starts)
        row_leaves = self.rows.valid & self.rows.ready
        m.d.sync += [
            # both sums, since what leaves is known late in the cycle
            prob_free.eq(Mux(self.release, kept_free + self.release_words, kept_free)),
            rows_free.eq(Mux(row_leaves, kept_rows + 1, kept_rows)),
            scales_free.eq(
                Mux(self.row_scale.valid & self.row_scale.ready, kept_scales + 1, kept_scales)
            ),
        ]
        return m

    def _ended_rows(self, m: Module, given: Value) -> Value:
        """Queries of the row of scores whose last word is given: those that have an entry."""
        word, seen = self.scores.payload, Signal(2)
        found = Signal(2)
        m.d.comb += [
            found[0].eq(seen[0] | (word.valid & ~word.tag.second).any()),
            found[1].eq(seen[1] | (word.valid & word.tag.second).any()),
        ]
        with m.If(given):
            m.d.sync += seen.eq(Mux(word.last, 0, found))
        return found[0] + found[1]

    def _pack(self, m: Module, ring: ProbRing, probs: Value, word: data.View) -> Value:
        """Which entries of a word are kept, and where; returns ring words that become free."""
        masked = word.use.masked if self.pairs else Const(0, 1)
        skips = word.use.skip_zeros if self.skip_zeros else Const(0, 1)
        plain = ~masked & ~skips
        zeros = Signal(self.banks)
        m.d.comb += [
            zeros.eq(
                Cat(
                    word.mask[b] & ~probs.word_select(b, PROB.bits).any() for b in range(self.banks)
                )
            ),
            ring.kept.eq(Mux(plain, ~0, word.mask & ~(zeros & skips.replicate(self.banks)))),
            ring.index.eq(word.index),
            self.prob_index.eq(ring.read_index),
        ]
        with m.If(ring.write & skips):
            m.d.comb += self.zero_probs.eq(sum(zeros[bank] for bank in range(self.banks)))
        return Mux(ring.row_valid, ring.unused, 0)
