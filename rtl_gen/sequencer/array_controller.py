"""Walks FULLY_CONNECTED and ATTENTION instructions: which rows meet which scalars, and when."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.interfaces import (
    EPILOGUE_COMMAND,
    ERROR,
    GIVE,
    ISSUED,
    PC_BITS,
    ROWS_BITS,
    SOFTMAX_COMMAND,
    step_layout,
    token_read_port,
)
from rtl_gen.sequencer.array_commands import execute_settings, fill_commands, fill_operands
from rtl_gen.sequencer.array_step import ArrayStep
from rtl_gen.sequencer.kept_pairs import connect_pairs, pair_ports
from rtl_gen.sequencer.operand_reader import OperandReader
from rtl_gen.sequencer.pair_walker import PairWalker
from rtl_gen.sequencer.pass_choice import PassChoice
from rtl_gen.sequencer.query_buffer import QueryBuffer
from rtl_gen.sequencer.query_buffers import QueryBuffers
from rtl_gen.sequencer.search_feed import connect_search, search_ports
from rtl_gen.sequencer.skipped_work import SkippedWork
from rtl_gen.sequencer.vector_issue import leaves_none, resolve_rows
from spec.isa import ATTENTION, FULLY_CONNECTED, HEAD_SCALES, HEADER, SIEVE, Opcode
from spec.registers import Error

__all__ = ["ArrayController"]


class ArrayController(wiring.Component):
    """Turns one instruction after another into passes, and passes into array steps.

    Golden twin: FULLY_CONNECTED and ATTENTION of `golden_model.machine`. A fully connected
    instruction is one accumulate pass a token row. Attention interleaves score passes (reduce)
    with P.V passes (accumulate): a finished probability row goes first, otherwise the next query
    is scored as long as the logit ring has room, so scores run ahead by as many rows as fit.

    Members
    -------
    issued, live : instructions of the array queue, and the live-token register.
    take_token, read : row credits and the operand port of token memory.
    epilogue_command, softmax_command : what those units need to know of the instruction.
    reserve : stream of ring words a score row will take; prob_rows : finished rows.
    release, release_words : a P.V row is finished.
    prob_enable, prob_address : read port of the probability ring.
    walk, step : to and from the index engine.
    array : control of the PE array and the row memory, see `ArrayStep`.
    state fields (active .. wait_rows) : for the stall monitor; fired, macs : counter events.
    forget : SIEVE makes all places absent (with `sieves` only).

    With several head groups only (HEAD_SCALES sets `scales`):
    groups, next_groups : those at work on the instruction in hand, and on the one that would be
        next: a bit each. Commands, `reserve` and `prob_rows` are for these.
    group_words, scales : of the next instruction, for the commands of groups 1 ...

    With a token selector only, for instructions whose `row_limit` leaves no row:
    at_rest, give : all results are written; the credits of such an instruction.

    With `zero_skip` see `search_ports`; `sparse`: steps can be, see `step_layout`. With
    `attention_masks` see `pair_ports`. With `packed`, the probability ring is, and walks name
    their sources.
    """

    def __init__(
        self,
        *,
        banks: int,
        lanes: int,
        prob_words: int,
        max_head_words: int,
        head_groups: int = 1,
        token_selector: bool = False,
        sieves: bool = False,
        sparse: bool = False,
        zero_skip: bool = False,
        packed: bool = False,
        attention_masks: bool = False,
        score_words: int = 0,
    ) -> None:
        self._zero_skip = zero_skip
        self._sparse, self._packed, self._pairs = sparse, packed, attention_masks
        self._most_steps = min(score_words, prob_words)
        self._banks = banks
        self._sieves = sieves
        self._token_selector = token_selector
        self._head_groups = head_groups
        self._lanes = lanes
        self._prob_words = prob_words
        self._max_head_words = max_head_words
        self._step = ArrayStep(
            banks=banks,
            lanes=lanes,
            prob_words=prob_words,
            head_groups=head_groups,
            sparse=sparse,
            pairs=attention_masks,
        )
        self._choice = PassChoice(
            banks=banks, prob_words=prob_words, sparse=sparse, packed=packed, pairs=attention_masks
        )
        group_ports = {
            "groups": Out(head_groups),
            "next_groups": Out(head_groups),
            "group_words": Out(FULLY_CONNECTED["group_words"].shape),
            "scales": Out(HEAD_SCALES),
        }
        skip_ports = {"at_rest": In(1), "give": Out(GIVE)}
        super().__init__(
            {
                "issued": In(stream.Signature(ISSUED)),
                "live": In(ROWS_BITS),
                "take_token": Out(stream.Signature(4)),
                "read": Out(token_read_port(lanes)),
                "epilogue_command": Out(stream.Signature(EPILOGUE_COMMAND)),
                "softmax_command": Out(stream.Signature(SOFTMAX_COMMAND)),
                "reserve": Out(stream.Signature(16)),
                "prob_rows": self._choice.signature.members["prob_rows"],
                "release": Out(1),
                "release_words": Out(16),
                "prob_enable": Out(1),
                "prob_address": Out(range(prob_words)),
                "walk": self._choice.signature.members["walk"],
                "step": In(stream.Signature(step_layout(banks, sparse, attention_masks))),
                "array": Out(self._step.array_signature),
                "error": Out(ERROR),
                "pc": Out(PC_BITS),
                "active": Out(1),
                "fired": Out(1),
                "macs": Out(range(head_groups * banks * lanes + 1)),
                "wait_epilogue": Out(1),
                "wait_softmax": Out(1),
                "wait_token": Out(1),
                "wait_token_index": Out(4),
                "wait_port": Out(1),
                "wait_operand": Out(1),
                "wait_rows": Out(1),
                **(group_ports if head_groups > 1 else {}),
                **(skip_ports if token_selector else {}),
                **({"forget": Out(1)} if sieves else {}),
                **(pair_ports(banks, lanes) if attention_masks else {}),
                **(search_ports(lanes) if zero_skip else {}),
                **({"idle_banks": Out(range(head_groups * banks + 1))} if sparse else {}),
                **({"head_dim": Out(8)} if packed else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        banks, lanes = self._banks, self._lanes
        m.submodules.operands = operands = OperandReader(lanes=lanes)
        queries = self._query_buffer()
        m.submodules.queries = queries
        m.submodules.step_stage = step_stage = self._step
        m.submodules.choice = choice = self._choice
        current, pass_done = choice.current, Signal()

        # The instruction in hand, and the one that would be next.
        word = self.issued.p.word
        next_header = View(HEADER, word[: HEADER.size])
        next_fc = View(FULLY_CONNECTED, word[HEADER.size :][: FULLY_CONNECTED.size])
        next_attention = View(ATTENTION, word[HEADER.size :][: ATTENTION.size])
        next_is_attention = next_header.opcode == Opcode.ATTENTION
        limit = next_header.row_limit if self._token_selector else None
        fc_rows = resolve_rows(m, next_fc.rows, self.live, "fc_rows", limit)
        query_rows = resolve_rows(m, next_attention.queries, self.live, "query_rows", limit)
        key_rows = resolve_rows(m, next_attention.keys, self.live, "key_rows")
        rows = Mux(next_is_attention, query_rows, fc_rows)
        no_rows = Mux(
            next_is_attention,
            leaves_none(next_attention.queries, self.live),
            leaves_none(next_fc.rows, self.live),
        )
        empty = no_rows | (next_is_attention & leaves_none(next_attention.keys, self.live))
        sieve = Signal(SIEVE)
        registers = {Opcode.HEAD_SCALES: self.scales} if self._head_groups > 1 else {}
        registers |= {Opcode.SIEVE: sieve} if self._sieves else {}
        other = execute_settings(m, self.issued, registers)
        if self._sieves:
            forgets = (next_header.opcode == Opcode.SIEVE) & View(
                SIEVE, word[HEADER.size :][: SIEVE.size]
            ).forget
            m.d.comb += self.forget.eq(self.issued.valid & self.issued.ready & forgets)
        skips = self._skips(m, next_header, no_rows, other) if self._token_selector else Const(0, 1)

        is_attention = Signal()
        fc = Signal(FULLY_CONNECTED)
        attention = Signal(ATTENTION)

        accept = Signal()
        can_start = ~self.active & ~empty & ~operands.active & ~other
        softmax_ready = ~next_is_attention | self.softmax_command.ready
        takes_next = can_start & self.epilogue_command.ready & softmax_ready
        m.d.comb += [
            accept.eq(self.issued.valid & takes_next),
            self.issued.ready.eq(takes_next | (other & ~self.active) | (skips & self._rests())),
            self.epilogue_command.valid.eq(self.issued.valid & can_start & softmax_ready),
            self.softmax_command.valid.eq(
                self.issued.valid & can_start & next_is_attention & self.epilogue_command.ready
            ),
            self.wait_epilogue.eq(
                self.issued.valid
                & ((can_start & ~self.epilogue_command.ready) | (skips & ~self._rests()))
            ),
            self.wait_softmax.eq(self.issued.valid & can_start & ~softmax_ready),
            self.error.valid.eq(self.issued.valid & ~self.active & empty & ~other & ~skips),
            self.error.code.eq(Error.OPERAND),
            self.error.pc.eq(self.issued.p.pc),
        ]
        fill_commands(
            m,
            self.epilogue_command.p,
            self.softmax_command.p,
            issued=self.issued.p,
            is_attention=next_is_attention,
            rows=rows,
            sieve=sieve,
        )
        m.d.comb += operands.start.eq(accept)
        fill_operands(
            m,
            operands.command,
            header=next_header,
            is_attention=next_is_attention,
            attention=next_attention,
            query_words=self._query_words(next_attention),
            fc=next_fc,
            lanes=lanes,
            rows=rows,
        )
        with m.If(accept):
            m.d.sync += [
                self.active.eq(1),
                self.pc.eq(self.issued.p.pc),
                is_attention.eq(next_is_attention),
            ]
        with m.If(~self.active & self.issued.valid):
            # as long as it is there, since `accept` comes late in the cycle
            m.d.sync += [fc.eq(next_fc), attention.eq(next_attention)]

        # Which pass next.
        m.d.comb += [
            choice.rows.eq(rows),
            choice.next_is_attention.eq(next_is_attention),
            choice.key_rows.eq(key_rows),
            choice.active.eq(self.active),
            choice.is_attention.eq(is_attention),
            choice.fc.eq(fc),
            choice.attention.eq(attention),
            choice.skips_zeros.eq(sieve.skip_zeros),
            choice.of_lists.eq(is_attention & sieve.masked),
            choice.loaded.eq(queries.loaded),
            choice.pass_done.eq(pass_done),
            queries.schedule.eq(choice.schedule),
        ]
        connect(m, choice.reserve, flipped(self.reserve))
        connect(m, flipped(self.prob_rows), choice.prob_rows)
        connect(m, choice.walk, flipped(self.walk))

        # The pass in hand and its steps.
        m.d.comb += [
            pass_done.eq(step_stage.fired & self.step.p.last),
            step_stage.current.eq(current),
            step_stage.zero_point.eq(fc.zero_point),
            step_stage.lanes_valid.eq(fc.columns),
            step_stage.attention.eq(is_attention),
            step_stage.head_dim.eq(attention.head_dim),
            step_stage.vector.eq(queries.vector),
            queries.word.eq(self.step.p.word),
            queries.done.eq(pass_done & current.reduce),
            queries.accept.eq(is_attention),
            queries.head_dim.eq(attention.head_dim),
            queries.first_lane.eq(attention.first_lane),
            self.release.eq(pass_done & current.value & current.final),
            self.release_words.eq(current.prob_row.words),
            self.prob_enable.eq(step_stage.prob_enable),
            self.prob_address.eq(step_stage.prob_address),
            self.fired.eq(step_stage.fired),
            self.macs.eq(step_stage.macs),
        ]
        if self._head_groups > 1:
            self._connect_groups(m, next_is_attention, next_fc, next_attention, accept)
            for unit in (queries, step_stage):
                m.d.comb += unit.further_groups.eq(attention.further_groups)
            m.d.comb += queries.head_words.eq(attention.head_words)
        if self._pairs:
            walker = PairWalker(banks=banks, lanes=lanes, most=self._most_steps)
            m.submodules.walker = walker
            starts = accept & next_is_attention & sieve.masked
            m.d.comb += [
                choice.both_loaded.eq(queries.both_loaded),
                queries.schedule_both.eq(choice.schedule_both),
                queries.both.eq(current.both),
                step_stage.second_vector.eq(queries.second_vector),
                step_stage.of_lists.eq(choice.of_lists),
            ]
            connect(m, walker.pairs, choice.pair)
            sizes = {"rows": rows, "keys": key_rows, "head_dim": attention.head_dim}
            connect_pairs(m, self, walker, start=starts, sieve=sieve, **sizes)
        connect(m, step_stage.step, flipped(self.step))
        connect(m, flipped(self.array), step_stage.array)
        connect(m, flipped(self.read), operands.read)
        connect(m, flipped(self.take_token), operands.take_token)
        # The operand words go to the query buffer (attention) or to the step stage.
        m.d.comb += [
            queries.words.payload.eq(operands.words.payload),
            step_stage.words.payload.eq(operands.words.payload),
            queries.words.valid.eq(operands.words.valid & is_attention),
            step_stage.words.valid.eq(operands.words.valid & ~is_attention),
            operands.words.ready.eq(Mux(is_attention, queries.words.ready, step_stage.words.ready)),
        ]
        if self._sparse:
            sizes = {"banks": banks, "lanes": lanes, "head_groups": self._head_groups}
            m.submodules.skipped = skipped = SkippedWork(**sizes)
            by_list = current.pair if self._pairs else 0
            m.d.comb += [
                skipped.fired.eq(step_stage.fired),
                skipped.sparse.eq(self.step.p.sparse | by_list),
                skipped.valid.eq(self.step.p.valid),
                skipped.last.eq(self.step.p.last),
                self.idle_banks.eq(skipped.idle_banks),
            ]
        if self._packed:
            m.d.comb += self.head_dim.eq(attention.head_dim)
        if self._zero_skip:
            searches = sieve.skip_zeros & ~next_is_attention
            parts = (self, operands, step_stage, skipped)
            connect_search(m, *parts, accept=accept, searches=searches, fc=fc)
        with m.If(choice.finished):
            m.d.sync += self.active.eq(0)

        # Why nothing moves, for the stall monitor.
        needs_operand = Signal()
        m.d.comb += [
            needs_operand.eq(
                Mux(is_attention, choice.wanted & choice.quiet, ~operands.words.valid)
            ),
            self.wait_token.eq(
                needs_operand & operands.take_token.valid & ~operands.take_token.ready
            ),
            self.wait_token_index.eq(operands.take_token.payload),
            self.wait_port.eq(needs_operand & operands.denied),
            self.wait_rows.eq(
                is_attention & choice.quiet & ~needs_operand & ~choice.pushed & ~choice.all_pushed
            ),
            self.wait_operand.eq(~self.step.valid | ~operands.words.valid),
        ]
        return m

    def _query_buffer(self) -> QueryBuffer | QueryBuffers:
        sizes = {"lanes": self._lanes, "max_head_words": self._max_head_words}
        if self._head_groups == 1:
            return QueryBuffer(**sizes, pairs=self._pairs)
        return QueryBuffers(**sizes, head_groups=self._head_groups)

    def _query_words(self, attention: data.View) -> Value:
        """Words of a query row, of all heads side by side."""
        if self._head_groups == 1:
            return attention.head_words
        return attention.head_words * (attention.further_groups + 1)

    def _rests(self) -> Value:
        """Whether all that was begun is written."""
        return ~self.active & self.at_rest if self._token_selector else Const(0, 1)

    def _skips(self, m: Module, header: data.View, no_rows: Value, other: Value) -> Signal:
        """Whether `row_limit` leaves the next instruction no row; then only give its credits."""
        skips = Signal()
        m.d.comb += [
            skips.eq(no_rows & (header.row_limit != 0) & ~other),
            self.give.mask.eq(header.signal),
            self.give.valid.eq(self.issued.valid & skips & self._rests()),
        ]
        return skips

    def _connect_groups(
        self, m: Module, is_attention: Value, fc: data.View, attention: data.View, accept: Value
    ) -> None:
        """Which head groups the next instruction needs."""
        m.d.comb += self.group_words.eq(fc.group_words)
        for group in range(self._head_groups):
            head = attention.further_groups >= group if group else Const(1, 1)
            block = fc.columns > group * self._lanes
            m.d.comb += self.next_groups[group].eq(Mux(is_attention, head, block))
        with m.If(accept):
            m.d.sync += self.groups.eq(self.next_groups)
