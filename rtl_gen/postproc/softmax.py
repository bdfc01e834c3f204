"""Softmax of attention rows: logits, unnormalised probabilities, one requantizer a row."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import (
    PC_BITS,
    ROW_SCALE,
    SOFTMAX_COMMAND,
    prob_row_layout,
    scores_layout,
)
from rtl_gen.postproc.exponential import Exponential
from rtl_gen.postproc.logits import Logits
from rtl_gen.postproc.row_scale import RowScale
from rtl_gen.token_selector.collected_scores import SCORE_MULTIPLIER, SCORE_SHIFT
from spec.formats import LOGIT, PROB, SOFTMAX
from spec.isa import ScoreUse

__all__ = ["ROWS_IN_FLIGHT", "Softmax"]

ROWS_IN_FLIGHT = 16
"""Rows between `reserve` and their exponentials, and rows that wait for P.V or the epilogue."""


def logit_word_layout(banks: int) -> data.StructLayout:
    """A word of the logit ring."""
    return data.StructLayout({"values": data.ArrayLayout(signed(LOGIT.bits), banks), "mask": banks})


_SCALING = {
    "pc": PC_BITS,
    "output_multiplier": SOFTMAX_COMMAND["output_multiplier"].shape,
    "output_shift": SOFTMAX_COMMAND["output_shift"].shape,
}
ROW = data.StructLayout({"maximum": signed(LOGIT.bits), "words": 16, **_SCALING})
"""A complete row of logits in the ring."""
CHUNK = data.StructLayout({"word_end": 1, "row_end": 1, **_SCALING})
"""What travels with the `score_lanes` logits in the exponential pipe."""


def _with_scores(layout: data.StructLayout, cls_scores: bool) -> data.StructLayout:
    """The layout, and whether its row becomes scores."""
    return data.StructLayout({**layout.members, "scores": ScoreUse}) if cls_scores else layout


class Softmax(wiring.Component):
    """Base-2 softmax of score rows of any length, row by row, with rings in between.

    Golden twins: `requantize`, `probabilities` and `row_scale` of `golden_model.units`.
    Latency: `LATENCY` cycles from a row's last score word to `rows.valid`, for a row of one word;
    `row_scale` follows `RowScale.LATENCY` later. Throughput: one word of `banks` keys in
    banks / score_lanes cycles, both for scores and exponentials, no cycles lost between rows, six
    between instructions.
    Back-pressure: `reserve` grants ring space before a row's scores come; `scores` then waits for
    nothing but its command. Exponentials wait for probability ring words, `rows` and `row_scale`.

    Members
    -------
    command : one an ATTENTION instruction, taken when the rows of the last one have entered
    reserve : words (keys / banks, rounded up) of a score row that is about to start
    scores : raw scores, masked; lanes not in the mask have probability 0
    rows : complete probability rows, in order
    prob_enable, prob_address, prob_data : read port of the probability ring, data one cycle later
    release, release_words : P.V of the oldest row has finished; frees its words
    row_scale : requantizer of each row's P.V, in order
    trace_score, trace_prob : every word written to the two rings, masked lanes 0
    logit_saturations : logits clipped in this cycle

    With `cls_scores` only, for an instruction's first row if its `scores` say so:
    collect_ready : it may begin; until then it waits, with all rows behind it
    collect_begin, collect_use : it begins
    collect_word : `trace_prob.data` is a word of it
    collect_scaled, collect_scale : after all its words, its requantizer to SCORE
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
    ) -> None:
        self.cls_scores = cls_scores
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
        probs = data.ArrayLayout(PROB.bits, banks)
        collect = {
            "collect_ready": In(1),
            "collect_begin": Out(1),
            "collect_use": Out(ScoreUse),
            "collect_word": Out(1),
            "collect_scaled": Out(1),
            "collect_scale": Out(ROW_SCALE),
        }
        super().__init__(
            {
                "command": In(stream.Signature(SOFTMAX_COMMAND)),
                "reserve": In(stream.Signature(16)),
                "scores": In(stream.Signature(scores_layout(banks))),
                "rows": Out(stream.Signature(prob_row_layout(prob_words))),
                "prob_enable": In(1),
                "prob_address": In(range(prob_words)),
                "prob_data": Out(probs),
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
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Logits into their ring; exponentials from there into the other; a requantizer a row."""
        m = Module()
        multipliers = {"logic_multipliers": self.logic_multipliers}
        row_layout = _with_scores(ROW, self.cls_scores)
        chunk_layout = _with_scores(CHUNK, self.cls_scores)
        m.submodules.logits = logits = Logits(banks=self.banks, lanes=self.score_lanes)
        m.submodules.exponential = exponential = Exponential(lanes=self.score_lanes, **multipliers)
        m.submodules.row_scaler = row_scaler = RowScale(**multipliers)
        m.submodules.logit_ring = logit_ring = memory.Memory(
            shape=logit_word_layout(self.banks), depth=self.score_words, init=[]
        )
        m.submodules.prob_ring = prob_ring = memory.Memory(
            shape=data.ArrayLayout(PROB.bits, self.banks), depth=self.prob_words, init=[]
        )
        m.submodules.row_queue = row_queue = fifo.SyncFIFO(
            width=row_layout.size, depth=ROWS_IN_FLIGHT
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
        logit_write = logit_ring.write_port()
        logit_words = Signal(16)
        m.d.comb += [
            self.command.ready.eq(~active & ~logits.busy),
            logits.enable.eq(active),
            logits.multiplier.eq(command.score_multiplier),
            logits.shift.eq(command.score_shift),
            logits.scores.payload.eq(self.scores.payload),
            logits.scores.valid.eq(self.scores.valid),
            self.scores.ready.eq(logits.scores.ready),
        ]
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [
                command.eq(self.command.payload),
                active.eq(self.command.payload.rows != 0),
                rows_left.eq(self.command.payload.rows),
            ]
        with m.If(self.scores.valid & self.scores.ready & self.scores.payload.last):
            m.d.sync += [rows_left.eq(rows_left - 1), active.eq(rows_left != 1)]

        scored = Signal(row_layout)
        m.d.comb += [
            logit_write.en.eq(logits.valid),
            logit_write.data.values.eq(logits.values),
            logit_write.data.mask.eq(logits.mask),
            scored.maximum.eq(logits.maximum),
            scored.words.eq(logit_words + 1),
            scored.pc.eq(command.pc),
            scored.output_multiplier.eq(command.output_multiplier),
            scored.output_shift.eq(command.output_shift),
            row_queue.w_data.eq(scored),
            row_queue.w_en.eq(logits.last),
            self.trace_score.valid.eq(logits.valid),
            self.trace_score.pc.eq(command.pc),
            self.trace_score.data.eq(logits.values),
            self.trace_score.mask.eq(logits.mask),
            self.logit_saturations.eq(logits.saturations),
        ]
        with m.If(logits.valid):
            m.d.sync += [
                logit_write.addr.eq(logit_write.addr + 1),
                logit_words.eq(Mux(logits.last, 0, logit_words + 1)),
            ]

        # Words of complete rows to the exponentials; what is fetched here is never held up ----
        chunks = self.banks // self.score_lanes
        row = data.View(row_layout, row_queue.r_data)
        logit_read = logit_ring.read_port()
        fetch, starts, ends = Signal(), Signal(), Signal()
        fetched = Signal(16)
        prob_free = Signal(range(self.prob_words + 1), init=self.prob_words)
        rows_free = Signal(range(ROWS_IN_FLIGHT + 1), init=ROWS_IN_FLIGHT)
        scales_free = Signal(range(ROWS_IN_FLIGHT + 1), init=ROWS_IN_FLIGHT)
        word = Signal(row_layout)
        may_start = Signal(init=1)
        word_valid, word_last = Signal(), Signal()
        chunk = Signal(range(max(chunks, 2)))
        chunk_last = Signal()
        m.d.comb += [
            chunk_last.eq(chunk == chunks - 1),
            starts.eq(fetched == 0),
            ends.eq(fetched + 1 == row.words),
            fetch.eq(
                row_queue.r_rdy
                & (prob_free != 0)
                & (~starts | ((rows_free != 0) & (scales_free != 0) & may_start))
                & (~word_valid | chunk_last)
            ),
            logit_read.en.eq(fetch),
            row_queue.r_en.eq(fetch & ends),
        ]
        with m.If(word_valid):
            m.d.sync += chunk.eq(Mux(chunk_last, 0, chunk + 1))
        with m.If(fetch):
            m.d.sync += [
                logit_read.addr.eq(logit_read.addr + 1),
                fetched.eq(Mux(ends, 0, fetched + 1)),
                word.eq(row),
                word_last.eq(ends),
                word_valid.eq(1),
            ]
        with m.Elif(chunk_last):
            m.d.sync += word_valid.eq(0)

        # Exponentials to the probability ring ---------------------------------------------------
        travelling = [
            Signal(chunk_layout, name=f"chunk_{at}") for at in range(exponential.LATENCY + 1)
        ]
        first, done = travelling[0], travelling[-1]
        logit_chunk = Value.cast(logit_read.data.values).word_select(
            chunk, self.score_lanes * LOGIT.bits
        )
        m.d.comb += [
            first.word_end.eq(chunk_last),
            first.row_end.eq(chunk_last & word_last),
            first.pc.eq(word.pc),
            first.output_multiplier.eq(word.output_multiplier),
            first.output_shift.eq(word.output_shift),
            exponential.valid.eq(word_valid),
            exponential.maximum.eq(word.maximum),
            exponential.logits.eq(logit_chunk),
            exponential.mask.eq(logit_read.data.mask.word_select(chunk, self.score_lanes)),
        ]
        m.d.sync += [after.eq(before) for before, after in pairwise(travelling)]

        prob_write = prob_ring.write_port()
        prob_word = Signal(self.banks * PROB.bits)
        prob_words = Signal(16)
        row_start = Signal(range(self.prob_words))
        finished = Signal(chunk_layout)
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
            prob_write.en.eq(word_done),
            prob_write.data.eq(prob_word),
            self.trace_prob.valid.eq(word_done),
            self.trace_prob.pc.eq(finished.pc),
            self.trace_prob.data.eq(prob_word),
            rows_fifo.w_en.eq(row_done),
            rows_fifo.w_data.eq(Cat(row_start, (prob_words + 1)[:16])),
            row_scaler.valid.eq(row_done | rescale),
            row_scaler.total.eq(total),
            row_scaler.output_multiplier.eq(
                Mux(rescale, SCORE_MULTIPLIER, finished.output_multiplier)
            ),
            row_scaler.output_shift.eq(Mux(rescale, SCORE_SHIFT, finished.output_shift)),
            scale_fifo.w_en.eq(row_scaler.result_valid & ~rescaled),
            scale_fifo.w_data.eq(row_scaler.scale),
        ]
        with m.If(word_done):
            m.d.sync += [
                prob_write.addr.eq(prob_write.addr + 1),
                prob_words.eq(Mux(row_done, 0, prob_words + 1)),
            ]
        with m.If(row_done):
            m.d.sync += row_start.eq(prob_write.addr + 1)

        if self.cls_scores:
            # A row that becomes scores: when it may start, and its sum once more, in the cycle
            # after the first time: the next row is fetched a cycle later, so the scaler is free
            first_row, gap = Signal(init=1), Signal()
            wanted = row.scores != ScoreUse.NONE
            delay = Signal(RowScale.LATENCY)
            with m.If(self.command.valid & self.command.ready):
                m.d.sync += first_row.eq(1)
            with m.If(logits.last):
                m.d.sync += first_row.eq(0)
            m.d.comb += [
                scored.scores.eq(Mux(first_row, command.scores, ScoreUse.NONE)),
                may_start.eq(~gap & (~wanted | self.collect_ready)),
                self.collect_begin.eq(fetch & starts & wanted),
                self.collect_use.eq(row.scores),
                first.scores.eq(word.scores),
                self.collect_word.eq(word_done & (finished.scores != ScoreUse.NONE)),
                rescaled.eq(delay[-1]),
                self.collect_scaled.eq(row_scaler.result_valid & rescaled),
                self.collect_scale.eq(row_scaler.scale),
            ]
            m.d.sync += [
                gap.eq(fetch & ends & wanted),
                rescale.eq(row_done & (finished.scores != ScoreUse.NONE)),
                delay.eq(delay << 1 | rescale),
            ]

        # Outputs, and what is free ----------------------------------------------------------------
        prob_read = prob_ring.read_port()
        m.d.comb += [
            prob_read.en.eq(self.prob_enable),
            prob_read.addr.eq(self.prob_address),
            self.prob_data.eq(prob_read.data),
            self.rows.valid.eq(rows_fifo.r_rdy),
            self.rows.payload.eq(rows_fifo.r_data),
            rows_fifo.r_en.eq(self.rows.ready),
            self.row_scale.valid.eq(scale_fifo.r_rdy),
            self.row_scale.payload.eq(scale_fifo.r_data),
            scale_fifo.r_en.eq(self.row_scale.ready),
        ]
        logit_free = Signal(range(self.score_words + 1), init=self.score_words)
        slots_free = Signal(range(ROWS_IN_FLIGHT + 1), init=ROWS_IN_FLIGHT)
        reserved = Signal()
        m.d.comb += [
            self.reserve.ready.eq((slots_free != 0) & (logit_free >= self.reserve.payload)),
            reserved.eq(self.reserve.valid & self.reserve.ready),
            self.idle.eq(
                ~active
                & ~logits.busy
                & (slots_free == ROWS_IN_FLIGHT)
                & (logit_free == self.score_words)
                & (prob_free == self.prob_words)
                & (rows_free == ROWS_IN_FLIGHT)
                & (scales_free == ROWS_IN_FLIGHT)
            ),
        ]
        m.d.sync += [
            logit_free.eq(logit_free + fetch - Mux(reserved, self.reserve.payload, 0)),
            slots_free.eq(slots_free + (fetch & ends) - reserved),
            # both sums, since `release` comes late in the cycle
            prob_free.eq(
                Mux(self.release, prob_free - fetch + self.release_words, prob_free - fetch)
            ),
            rows_free.eq(rows_free - (fetch & starts) + (self.rows.valid & self.rows.ready)),
            scales_free.eq(
                scales_free - (fetch & starts) + (self.row_scale.valid & self.row_scale.ready)
            ),
        ]
        return m
