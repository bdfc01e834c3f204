"""Checks each instruction and hands it to its queue, in program order."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl_gen.interfaces import ERROR, ISSUED, PC_BITS
from spec.formats import NORM, PROB, REQUANTIZE, SELECTOR
from spec.isa import (
    ATTENTION,
    FULLY_CONNECTED,
    GATE,
    HALT,
    HEADER,
    LIVE,
    LOAD_TOKENS,
    LOAD_WEIGHTS,
    NORMALIZE,
    QUEUE_OF,
    SELECT,
    SIEVE,
    Activation,
    Destination,
    Opcode,
    Package,
    Scores,
    ScoreUse,
)
from spec.registers import Error
from spec.semaphores import CONSUMER_OF, PRODUCER_OF, Queue, Semaphore

__all__ = ["Dispatcher"]


def _mask(of: dict[Semaphore, Queue], queue: Queue) -> int:
    """The semaphores that `queue` produces (or consumes), as a bit mask."""
    return sum(1 << semaphore.value for semaphore, owner in of.items() if owner is queue)


class Dispatcher(wiring.Component):
    """One instruction a cycle into the queues; stops at GATE, HALT or the first bad instruction.

    Golden twin: the dispatch and the checks of `golden_model.machine`.

    Members
    -------
    instruction : stream of ISSUED from the fetcher.
    queues : one stream of ISSUED a queue.
    halted : GATE or HALT has been reached; stays high.
    skipped : of that instruction.
    error : OPCODE, OPERAND or SEMAPHORE with the instruction's pc; stays valid.

    With `effort_gate`:
    gated : it was GATE. What follows stays in the fetcher.
    gate, gate_pc : its fields and its pc.
    """

    def __init__(
        self,
        *,
        lanes: int,
        max_tokens: int,
        max_head_words: int,
        head_groups: int = 1,
        token_selector: bool = False,
        cls_scores: bool = False,
        zero_skip: bool = False,
        attention_masks: bool = False,
        thresholds: bool = False,
        effort_gate: bool = False,
    ) -> None:
        self._effort_gate = effort_gate
        self._zero_skip = zero_skip
        self._attention_masks = attention_masks
        self._thresholds = thresholds
        self._sieves = zero_skip or attention_masks or thresholds
        self._token_selector = token_selector
        self._cls_scores = cls_scores
        self._lanes = lanes
        self._head_groups = head_groups
        self._max_tokens = max_tokens
        self._max_head_words = max_head_words
        super().__init__(
            {
                "instruction": In(stream.Signature(ISSUED)),
                "queues": Out(stream.Signature(ISSUED)).array(len(Queue)),
                "halted": Out(1),
                "skipped": Out(HALT["skipped"].width),
                "error": Out(ERROR),
                **(
                    {"gated": Out(1), "gate": Out(GATE), "gate_pc": Out(PC_BITS)}
                    if effort_gate
                    else {}
                ),
            }
        )

    def _bad_rows(self, rows: data.View) -> Value:
        return ~rows.live & ((rows.count == 0) | (rows.count > self._max_tokens))

    def _bad_operands(self, m: Module, word: Value, opcode: Value) -> Signal:
        """High when a field holds what no instruction can have."""
        body = word[HEADER.size :]
        fc = View(FULLY_CONNECTED, body[: FULLY_CONNECTED.size])
        attention = View(ATTENTION, body[: ATTENTION.size])
        norm = View(NORMALIZE, body[: NORMALIZE.size])
        live = View(LIVE, body[: LIVE.size])
        weights = View(LOAD_WEIGHTS, body[: LOAD_WEIGHTS.size])
        lanes, head_groups = self._lanes, self._head_groups
        bad = Signal()
        with m.Switch(opcode):
            with m.Case(Opcode.FULLY_CONNECTED):
                m.d.comb += bad.eq(
                    self._bad_rows(fc.rows)
                    | (fc.depth == 0)
                    | (fc.columns == 0)
                    | (fc.columns > head_groups * lanes)
                    | (fc.activation.as_value() >= len(Activation))
                    | (fc.destination.as_value() >= len(Destination))
                    | (0 if self._token_selector else fc.broadcast)
                )
            with m.Case(Opcode.ATTENTION):
                whole = attention.head_dim >> exact_log2(lanes)
                rest = attention.head_dim[: exact_log2(lanes)].any()
                fits = Cat(
                    (attention.head_words == words) & Mux(rest, whole == words - 1, whole == words)
                    for words in range(1, self._max_head_words + 1)
                ).any()
                m.d.comb += bad.eq(
                    self._bad_rows(attention.queries)
                    | self._bad_rows(attention.keys)
                    | (attention.further_groups >= head_groups)
                    | ~fits
                    | Mux(
                        attention.head_words == 1,
                        attention.first_lane + attention.head_dim > lanes,
                        attention.first_lane != 0,
                    )
                    | (attention.scores.as_value() > (ScoreUse.ADD.value * self._cls_scores))
                )
            with m.Case(Opcode.LOAD_WEIGHTS):
                m.d.comb += bad.eq(
                    (weights.further_groups >= head_groups)
                    | (0 if self._token_selector else weights.live_above != 0)
                )
            with m.Case(Opcode.NORMALIZE):
                m.d.comb += bad.eq(
                    self._bad_rows(norm.rows)
                    | (norm.channels == 0)
                    | (norm.channels > NORM.max_channels)
                )
            with m.Case(Opcode.LIVE):
                header = View(HEADER, word[: HEADER.size])
                m.d.comb += bad.eq(
                    (live.tokens == 0)
                    | (live.tokens > self._max_tokens)
                    | header.token_wait.valid
                    | header.token_signal.valid
                )
            if self._sieves:
                with m.Case(Opcode.SIEVE):
                    m.d.comb += bad.eq(self._bad_sieve(View(SIEVE, body[: SIEVE.size])))
            if self._effort_gate:
                with m.Case(Opcode.GATE):
                    gate = View(GATE, body[: GATE.size])
                    m.d.comb += bad.eq((gate.classes == 0) | (gate.shift > REQUANTIZE.max_shift))
            if self._token_selector:
                with m.Case(Opcode.SELECT):
                    m.d.comb += bad.eq(self._bad_select(word))
            else:
                with m.Case(Opcode.LOAD_TOKENS, Opcode.STORE_TOKENS):
                    m.d.comb += bad.eq(View(LOAD_TOKENS, body[: LOAD_TOKENS.size]).live)
        if not self._token_selector:
            with m.If(View(HEADER, word[: HEADER.size]).row_limit != 0):
                m.d.comb += bad.eq(1)
        return bad

    def _bad_select(self, word: Value) -> Value:
        """Fields of SELECT that no selector can serve."""
        header = View(HEADER, word[: HEADER.size])
        select = View(SELECT, word[HEADER.size :][: SELECT.size])
        collects = select.scores == Scores.CLS_ATTENTION
        most_heads = min(SELECTOR.max_heads, self._lanes)
        bad_heads = (select.heads == 0) | (select.heads > most_heads)
        return (
            (select.words == 0)
            | (select.package.as_value() >= len(Package))
            | Mux(collects, 0 if self._cls_scores else 1, bad_heads)
            | header.token_wait.valid
            | header.token_signal.valid
        )

    def _bad_sieve(self, sieve: data.View) -> Value:
        """Fields of SIEVE that ask for what is not built, or that leave nothing."""
        lists = sieve.masked | sieve.placed | sieve.forget
        limits = (
            sieve.threshold | sieve.score_threshold | sieve.prob_threshold | sieve.context_threshold
        )
        return (
            (0 if self._zero_skip else sieve.skip_zeros)
            | (0 if self._attention_masks else lists)
            | (0 if self._thresholds else limits != 0)
            | (sieve.masked & (~sieve.placed | (sieve.list_words == 0)))
            | (sieve.prob_threshold == PROB.high)
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        word = self.instruction.p.word
        header = View(HEADER, word[: HEADER.size])
        opcode = header.opcode.as_value()

        queue = Signal(Queue)
        known = Signal()
        halt, gate = Signal(), Signal()
        bad_semaphore = Signal()
        with m.Switch(opcode):
            for code, target in QUEUE_OF.items():
                if code is Opcode.HEAD_SCALES and self._head_groups == 1:
                    continue
                if code is Opcode.SELECT and not self._token_selector:
                    continue
                if code is Opcode.SIEVE and not self._sieves:
                    continue
                with m.Case(code.value):
                    m.d.comb += [known.eq(1), queue.eq(target)]
            with m.Case(Opcode.HALT.value):
                m.d.comb += [known.eq(1), halt.eq(1)]
            if self._effort_gate:
                with m.Case(Opcode.GATE.value):
                    m.d.comb += [known.eq(1), halt.eq(1), gate.eq(1)]

        def one_hot(semaphore: data.View) -> Value:
            return (Const(1, 1) << semaphore.index)[:16] & semaphore.valid.replicate(16)

        gives = header.signal | one_hot(header.token_signal)
        takes = header.wait | one_hot(header.token_wait)
        with m.Switch(queue):
            for each in Queue:
                with m.Case(each):
                    m.d.comb += bad_semaphore.eq(
                        ((gives & ~Const(_mask(PRODUCER_OF, each), 16)) != 0)
                        | ((takes & ~Const(_mask(CONSUMER_OF, each), 16)) != 0)
                    )

        rowless = [Opcode.HEAD_SCALES] * (self._head_groups > 1) + [Opcode.SIEVE] * self._sieves
        for code in rowless:
            with m.If((opcode == code) & ((gives != 0) | header.token_wait.valid)):
                m.d.comb += bad_semaphore.eq(1)

        bad_operand = self._bad_operands(m, word, opcode)
        error = self.error
        good = Signal()
        ready = Signal()
        taken = ready | self.halted
        if self._effort_gate:
            taken = (taken | gate) & ~self.gated
        m.d.comb += [
            good.eq(
                known
                & (header.reserved == 0)
                & ~bad_operand
                & (halt | ~bad_semaphore)
                & ~self.halted
                & ~error.valid
            ),
            self.instruction.ready.eq(taken | error.valid),
        ]
        for index, target in enumerate(self.queues):
            mine = queue.as_value() == index
            m.d.comb += [
                target.payload.eq(self.instruction.payload),
                target.valid.eq(self.instruction.valid & good & ~halt & mine),
            ]
            # a bad one may be taken as well, with its error: the checks are long
            with m.If(mine & ~halt):
                m.d.comb += ready.eq(target.ready)
        with m.If(self.instruction.valid & ~self.halted & ~error.valid):
            with m.If(good & halt):
                m.d.sync += self.halted.eq(1)
                self._note_end(m, gate)
            with m.Elif(~good):
                m.d.sync += [error.valid.eq(1), error.pc.eq(self.instruction.p.pc)]
                with m.If(~known | (header.reserved != 0)):
                    m.d.sync += error.code.eq(Error.OPCODE)
                with m.Elif(bad_operand):
                    m.d.sync += error.code.eq(Error.OPERAND)
                with m.Else():
                    m.d.sync += error.code.eq(Error.SEMAPHORE)
        return m

    def _note_end(self, m: Module, gate: Value) -> None:
        """Keep what a GATE or HALT says."""
        body = self.instruction.p.word[HEADER.size :]
        if not self._effort_gate:
            m.d.sync += self.skipped.eq(View(HALT, body[: HALT.size]).skipped)
            return
        fields = View(GATE, body[: GATE.size])
        m.d.sync += [
            self.gated.eq(gate),
            self.gate.eq(fields),
            self.gate_pc.eq(self.instruction.p.pc),
            self.skipped.eq(Mux(gate, fields.skipped, View(HALT, body[: HALT.size]).skipped)),
        ]
