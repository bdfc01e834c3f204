"""One head group: row memory, MAC array and what finishes its results."""

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.buffers.places import Places
from rtl_gen.buffers.row_memory import RowMemory, row_trace_layout
from rtl_gen.buffers.table_memory import TableMemory
from rtl_gen.interfaces import (
    EPILOGUE_COMMAND,
    ERROR,
    GIVE,
    GIVE_TOKEN,
    PC_BITS,
    ROWS_BITS,
    SOFTMAX_COMMAND,
    origin_read_port,
    present_port,
    row_write_layout,
    table_write_layout,
    token_read_port,
    token_write_layout,
)
from rtl_gen.pe_array.pe_array import PEArray
from rtl_gen.postproc.epilogue import Epilogue
from rtl_gen.postproc.softmax import Softmax
from rtl_gen.sequencer.array_step import array_signature
from rtl_gen.token_selector.collected_scores import CollectedScores
from spec.formats import SCORE
from spec.registers import Error

__all__ = ["ERRORS", "HeadGroup"]

_COLLECT = {
    "collect_enable": In(1),
    "collect_token": In(ROWS_BITS),
    "collected": Out(SCORE.bits),
    "collecting": Out(1),
    "forget": In(1),
}

ERRORS = ("row_read", "row_write", "row_load", "table_load", "table_read", "epilogue")
"""What `HeadGroup.errors` reports, in this order."""


class HeadGroup(wiring.Component):
    """Row memory -> array -> softmax and epilogue, with the column tables.

    Members
    -------
    control : row addresses, and one cycle later the step's operands (see `ArrayStep`).
    prob_enable, prob_address, release, release_words, reserve, prob_rows : of the softmax.
    epilogue_command, softmax_command : one each for an instruction of this group.
    row_load, column_load : writes of the loader.
    residual, partial, token_write : clients of token memory.
    give, give_token : credits of this group's writes.
    array_pc, load_pc : instructions that `row_read` and `table_load` errors name.
    pc : instruction whose residuals and partial sums are read.
    errors : see ERRORS.
    rows_read, residual_saturations, logit_saturations : for the counters; with `thresholds` also
        values_cleared.
    blocked_scores, blocked_accumulators : the array is frozen, see `PEArray`.
    trace_row, trace_score, trace_prob : every write of a result.
    idle : epilogue and softmax are at rest; epilogue_idle : the first of these is.
    collect_enable, collect_token, collected, collecting, forget : see `CollectedScores` (with
        `cls_scores` only); `collecting` while a row is in work
    prob_index, zero_probs : of a softmax with a packed ring
    origin, place_read, place_pc : of the epilogue (with `max_positions` only)
    forget_places, lookup : `forget` and `lookup` of `Places` (likewise)
    """

    def __init__(
        self,
        *,
        banks: int,
        lanes: int,
        vector_lanes: int,
        score_lanes: int,
        row_words: int,
        column_tables: int,
        score_words: int,
        prob_words: int,
        register_operands: bool,
        logic_lanes: int,
        logic_multipliers: bool,
        cls_scores: bool = False,
        max_positions: int = 0,
        skip_zeros: bool = False,
        thresholds: bool = False,
    ) -> None:
        self.thresholds = thresholds
        self.cls_scores = cls_scores
        self.max_positions = max_positions
        sizes = {"banks": banks, "lanes": lanes}
        multipliers = {"logic_multipliers": logic_multipliers}
        pairs = bool(max_positions)
        self.pe_array = PEArray(
            **sizes, register_operands=register_operands, logic_lanes=logic_lanes, pairs=pairs
        )
        self.row_memory = RowMemory(**sizes, words=row_words, places=bool(max_positions))
        self.column_tables = TableMemory(
            words=column_tables * lanes // vector_lanes, entries=vector_lanes
        )
        self.epilogue = Epilogue(
            **sizes,
            vector_lanes=vector_lanes,
            column_tables=column_tables,
            max_positions=max_positions,
            thresholds=thresholds,
            **multipliers,
        )
        self.softmax = Softmax(
            banks=banks,
            score_lanes=score_lanes,
            score_words=score_words,
            prob_words=prob_words,
            cls_scores=cls_scores,
            pairs=pairs,
            skip_zeros=skip_zeros,
            thresholds=thresholds,
            **multipliers,
        )
        if cls_scores:
            self.collected_scores = CollectedScores(banks=banks, prob_words=prob_words)
        if max_positions:
            self.places = Places(banks=banks)
        cleared = vector_lanes + 2 * score_lanes
        packed_ports = {
            "prob_index": Out(data.ArrayLayout(self.softmax.index_bits, banks)),
            "zero_probs": Out(range(banks + 1)),
        }
        place_ports = {
            "origin": Out(origin_read_port()),
            "place_read": Out(token_read_port(lanes)),
            "place_pc": Out(PC_BITS),
            "forget_places": In(1),
            "lookup": In(present_port(banks)),
        }
        super().__init__(
            {
                "control": In(array_signature(banks, lanes, pairs=pairs)),
                "prob_enable": In(1),
                "prob_address": In(range(prob_words)),
                "release": In(1),
                "release_words": In(16),
                "epilogue_command": In(stream.Signature(EPILOGUE_COMMAND)),
                "softmax_command": In(stream.Signature(SOFTMAX_COMMAND)),
                "reserve": In(stream.Signature(16)),
                "prob_rows": Out(self.softmax.rows.signature),
                "row_load": In(stream.Signature(row_write_layout(banks, lanes))),
                "column_load": In(stream.Signature(table_write_layout(vector_lanes))),
                "residual": Out(token_read_port(lanes)),
                "partial": Out(token_read_port(lanes)),
                "token_write": Out(stream.Signature(token_write_layout(lanes))),
                "give": Out(GIVE),
                "give_token": Out(GIVE_TOKEN),
                "array_pc": In(PC_BITS),
                "load_pc": In(PC_BITS),
                "pc": Out(PC_BITS),
                "errors": Out(data.ArrayLayout(ERROR, len(ERRORS))),
                "rows_read": Out(range(banks + 1)),
                "residual_saturations": Out(range(vector_lanes + 1)),
                "logit_saturations": Out(range(score_lanes + 1)),
                "blocked_scores": Out(1),
                "blocked_accumulators": Out(1),
                "trace_row": Out(row_trace_layout(banks, lanes, bool(max_positions))),
                "trace_score": Out(self.softmax.trace_score.shape()),
                "trace_prob": Out(self.softmax.trace_prob.shape()),
                "epilogue_idle": Out(1),
                "idle": Out(1),
                **(_COLLECT if cls_scores else {}),
                **(place_ports if max_positions else {}),
                **(packed_ports if self.softmax.index_bits else {}),
                **({"values_cleared": Out(range(cleared + 1))} if thresholds else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect the units."""
        m = Module()
        array, rows, tables = self.pe_array, self.row_memory, self.column_tables
        epilogue, softmax = self.epilogue, self.softmax
        m.submodules.pe_array = array
        m.submodules.row_memory = rows
        m.submodules.column_tables = tables
        m.submodules.epilogue = epilogue
        m.submodules.softmax = softmax

        control = self.control
        m.d.comb += [
            rows.read_enable.eq(control.row_enable),
            rows.read_address.eq(control.row_address),
            rows.read_valid.eq(control.row_valid),
            array.rows.eq(rows.read_data),
            array.scores_ready_next.eq(softmax.scores_ready_next),
            control.advance.eq(array.advance),
            control.prob_data.eq(softmax.prob_data),
            array.scalars.eq(control.scalars),
            array.vector.eq(control.vector),
            softmax.prob_enable.eq(self.prob_enable),
            softmax.prob_address.eq(self.prob_address),
            softmax.release.eq(self.release),
            softmax.release_words.eq(self.release_words),
        ]
        for name in ("step_valid", "reduce", "first", "last", "row_last", "bank_valid"):
            m.d.comb += getattr(array, name).eq(getattr(control, name))
        for name in ("eager", "second_vector", "tag") if array.pairs else ():
            m.d.comb += getattr(array, name).eq(getattr(control, name))
        if softmax.index_bits:
            m.d.comb += [
                self.prob_index.eq(softmax.prob_index),
                self.zero_probs.eq(softmax.zero_probs),
            ]

        connect(m, array.accumulators, epilogue.accumulators)
        connect(m, array.scores, softmax.scores)
        connect(m, softmax.row_scale, epilogue.row_scale)
        connect(m, epilogue.row_write, rows.epilogue)
        connect(m, epilogue.table, tables.read)
        connect(m, flipped(self.epilogue_command), epilogue.command)
        connect(m, flipped(self.softmax_command), softmax.command)
        connect(m, flipped(self.reserve), softmax.reserve)
        connect(m, softmax.rows, flipped(self.prob_rows))
        connect(m, flipped(self.row_load), rows.loader)
        connect(m, flipped(self.column_load), tables.write)
        connect(m, epilogue.residual, flipped(self.residual))
        connect(m, epilogue.partial, flipped(self.partial))
        connect(m, epilogue.token_write, flipped(self.token_write))

        found = {
            "row_read": (rows.read_error, Error.ROW_ADDRESS, self.array_pc),
            "row_write": (rows.epilogue_error, Error.ROW_ADDRESS, rows.epilogue.p.pc),
            "row_load": (rows.loader_error, Error.ROW_ADDRESS, rows.loader.p.pc),
            "table_load": (tables.write_error, Error.TABLE_ADDRESS, self.load_pc),
            "table_read": (tables.read_error, Error.TABLE_ADDRESS, epilogue.pc),
        }
        for number, name in enumerate(ERRORS):
            error = self.errors[number]
            if name == "epilogue":
                m.d.comb += error.eq(epilogue.error)
                continue
            valid, code, pc = found[name]
            m.d.comb += [error.valid.eq(valid), error.code.eq(code), error.pc.eq(pc)]
        m.d.comb += [
            self.give.eq(epilogue.give),
            self.give_token.eq(epilogue.give_token),
            self.pc.eq(epilogue.pc),
            self.rows_read.eq(rows.rows_read),
            self.residual_saturations.eq(epilogue.residual_saturations),
            self.logit_saturations.eq(softmax.logit_saturations),
            self.blocked_scores.eq(array.blocked_scores),
            self.blocked_accumulators.eq(array.blocked_accumulators),
            self.trace_row.eq(rows.trace),
            self.trace_score.eq(softmax.trace_score),
            self.trace_prob.eq(softmax.trace_prob),
            self.epilogue_idle.eq(epilogue.idle),
            self.idle.eq(epilogue.idle & softmax.idle),
        ]
        if self.cls_scores:
            m.submodules.collected_scores = collected = self.collected_scores
            m.d.comb += [
                collected.begin.eq(softmax.collect_begin),
                collected.use.eq(softmax.collect_use),
                collected.word.eq(softmax.collect_word),
                collected.probs.eq(softmax.collect_probs),
                collected.scale_valid.eq(softmax.collect_scaled),
                collected.scale.eq(softmax.collect_scale),
                softmax.collect_ready.eq(collected.ready),
                collected.forget.eq(self.forget),
                collected.enable.eq(self.collect_enable),
                collected.token.eq(self.collect_token),
                self.collected.eq(collected.score),
                self.collecting.eq(~collected.ready),
            ]
        if self.thresholds:
            m.d.comb += self.values_cleared.eq(epilogue.values_cleared + softmax.values_cleared)
        if self.max_positions:
            m.submodules.places = places = self.places
            connect(m, epilogue.origin, flipped(self.origin))
            connect(m, epilogue.place_read, flipped(self.place_read))
            connect(m, flipped(self.lookup), places.lookup)
            m.d.comb += [
                self.place_pc.eq(epilogue.place_pc),
                epilogue.forget.eq(self.forget_places),
                places.forget.eq(self.forget_places),
                places.placed.eq(epilogue.placed),
            ]
        return m
