"""The array queue's executor in time: controller, operands, array, softmax and epilogue.

Cycle by cycle, as `rtl_gen.sequencer.array_controller` and its units go; it meets the other units
only through credits and through the memory ports, of which it has the first choice. When a row
takes the same way as the row before, the rows that will do so too are skipped (`perf_model.skip`).
"""

from perf_model.epilogue import Epilogue
from perf_model.executor import Executor
from perf_model.operations import ArrayOperation
from perf_model.query_buffer import QueryBuffer
from perf_model.skip import RowSkipper
from perf_model.softmax import GROUP, Softmax
from perf_model.sources import RESULT, ROW_ENDS, Pass, Sources
from perf_model.timeline import NEVER, Credits, Port, cause_of
from spec.config import Config
from spec.registers import STALLS

__all__ = ["Array"]

OPERAND_WORDS = 4
"""Depth of the operand reader's buffer."""


class Array(Executor[ArrayOperation]):
    """Runs as far as what it waits for is known."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.reads, self.token_writes, self.row_writes = Port(), Port(), Port()
        self.epilogue = Epilogue(config, self.reads, self.token_writes, self.row_writes)
        self.softmax = Softmax(config)
        self.sources = Sources(config)
        self.queries = QueryBuffer(4 if config.attention_masks else 2)
        self.stalls = dict.fromkeys(STALLS, 0)
        self.busy = 0
        self.marks: dict[int, tuple[int, dict[str, int]]] = {}
        """Instructions at whose start to note how many cycles were busy and stalled."""
        self.idle_since = 0
        # the instruction in hand
        self.active = False
        self.operation: ArrayOperation | None = None
        self.attention = False
        self.rows_left = self.values_left = self.value_word = 0
        self.turn = self.masked = False
        """Scores go before P.V.; the last SIEVE asks for lists."""
        # operands
        self.operand_rows = self.operand_left = 0
        self.credited = False
        self.flying = 0
        """1 a word is on its way, 2 it is a row's last."""
        self.buffer: list[int] = []
        # array
        self.pipe = [0] * (3 + config.register_operands)
        self.accumulators = False
        self.scores = 0
        self.still: tuple[tuple, str, list[Credits]] | None = None
        """What was seen, the cause and what is lacking, if nothing moved in the cycle before."""
        self.program: list[ArrayOperation] = []
        """All there will be."""
        self.waits = 0
        """Cycles in which a row's credit was not there."""
        self.skipper = RowSkipper(self)

    def state(self) -> tuple:
        """What changes whenever anything moves."""
        return (
            self.active,
            self.rows_left,
            self.values_left,
            self.operand_rows,
            self.value_word,
            self.turn,
            self.operand_left,
            self.credited,
            self.flying,
            tuple(self.buffer),
            tuple(self.pipe),
            self.accumulators,
            self.scores,
            self.queries.state(),
            self.sources.state(),
            self.epilogue.state(),
            self.softmax.state(),
        )

    def idle_from(self) -> int:
        """The first cycle without anything to do, once nothing is left."""
        return self.epilogue.idle_from()

    def row_bank(self, t: int) -> int:
        """The bank of the row-memory write of cycle t; -1: all banks."""
        return self.epilogue.bank(t)

    def next_skips(self) -> bool:
        """Whether the next instruction has no rows: it waits until all before it is written."""
        number = len(self.queue.takes)
        return number < len(self.program) and self.program[number].skips

    def _cycle(self) -> bool:
        """One cycle, or several in which nothing changes; False if it is not known how it goes."""
        t = self.time
        # What comes from outside
        head: ArrayOperation | None = None
        issued = False
        lacking: list[Credits] = []
        token_ready = False
        if not self.active:
            found = self.head(t)
            if found is None:
                return False
            head, lacking = found
            issued = head is not None and not lacking
        elif self.operand_rows and not self.credited:
            token_ready = self.operation.token_wait.ready(t)
            if token_ready is None:
                return False
            self.waits += not token_ready
        wants_to_skip = False
        if self.active and self.next_skips():
            found = self.head(t)
            if found is None:
                return False
            wants_to_skip = found[0] is not None and not found[1]
        seen = (self.active, wants_to_skip, id(head), tuple(map(id, lacking)), token_ready)
        if self.still is not None:
            # nothing moved in the cycle before: if nothing new is seen, nothing moves now
            was, cause, lacked = self.still
            if seen == was and not issued and (lacked or self.fetch.halted > t):
                self.stalls[cause] += 1
                self.time = t + 1
                self._jump(t, cause, lacked)
                return True
            self.still = None
        sources, queries = self.sources, self.queries
        before = None
        if not self.buffer and not sources.there:
            before = self.state()

        epilogue, softmax, operation = self.epilogue, self.softmax, self.operation
        slot = epilogue.used < epilogue.slots
        sets = issued and head.sets
        skips = issued and head.skips
        rests = not self.active and not epilogue.used and t > epilogue.give_time
        late = wants_to_skip or (skips and not rests)
        accumulators_taken, scale_taken = epilogue.step(t, self.accumulators, softmax.scales > 0)
        scores_ready = softmax.scores_ready()
        # Array: does it advance, and is there a step?
        pipe = self.pipe
        tail = pipe[-1]
        eager = self.masked and self.attention and accumulators_taken
        blocked_accumulators = tail == RESULT and self.accumulators and not eager
        blocked_scores = tail >= GROUP and self.scores and not scores_ready
        advance = not (blocked_accumulators or blocked_scores)
        buffered, attention = bool(self.buffer), self.attention
        code = sources.fire(buffered, operation.head_words) if advance and operation else 0
        fired = code != 0
        self.busy += fired
        last = fired and sources.last
        kind = sources.kind
        released = 0
        if last and kind == Pass.VALUE_END:
            released = operation.key_words
        elif last and kind == Pass.PACKED_END:
            released = sources.released()
        # Which pass next
        outstanding = len(sources.passes)
        started = -1
        steps, row_queries = 0, 1
        row_taken = False
        query_ready = True
        if attention:
            steps = operation.key_words
            if sources.by_lists:
                pairs = sources.walker.pairs
                steps, row_queries = pairs[0] if pairs else (0, 0)
            query_ready = row_queries and queries.ready(row_queries)
        choose_value = self.active and self.values_left and softmax.rows
        if choose_value and self.turn and self.rows_left and query_ready:
            # behind a sparse row of P.V comes one of scores
            choose_value = not softmax.can_reserve(steps)
        if choose_value:
            if sources.ready(True, fired, buffered):
                row_taken = self.value_word == operation.head_words - 1
                started = Pass.PACKED if sources.packed else Pass.VALUE
                started += row_taken
        elif self.active and self.rows_left and query_ready:
            room = not attention or softmax.can_reserve(steps)
            if room and sources.ready(False, fired, buffered):
                started = Pass.SCORE if attention else Pass.FC
                if sources.searches:
                    started = Pass.SEARCH
                elif sources.by_lists:
                    started = Pass.PAIR if row_queries == 1 else Pass.BOTH
        pushed = started >= 0
        scheduled = pushed and attention and not choose_value
        all_pushed = not self.rows_left and not self.values_left
        finished = self.active and all_pushed and (outstanding == 0 or (outstanding == 1 and last))
        # Operands
        word_taken = sources.word_taken if fired else False
        if sources.searches:
            word_taken = sources.searched_word(pushed, buffered)
        request = self.operand_rows and self.credited
        request = request and len(self.buffer) + (self.flying != 0) < OPERAND_WORDS
        denies = epilogue.denies
        passing = sources.searches and sources.search.passing
        sources.move(fired, started, operation, word_taken)
        if sources.by_lists:
            listed = sources.walker.wants_word and not denies
            denies |= sources.walker.wants_word
            if listed:
                self.reads.cycles.add(t)
            origin = sources.walker.wants_origin and not epilogue.asks_origin
            pair_steps = steps if scheduled else 0
            passing = sources.move_lists(fired, pair_steps, operation.head_words, listed, origin)
        granted = request and not denies
        denied = request and not granted
        queries_ready = attention and not queries.occupied[queries.fill]

        # Why nothing moves
        if not fired:
            no_pass = outstanding == 0
            needs = not buffered
            if attention:
                needs = self.rows_left and not query_ready and no_pass
            waiting_row = (
                self.active
                and needs
                and self.operand_rows
                and not self.credited
                and not token_ready
            )
            lacking_row = [operation.token_wait] if waiting_row else []
            starts = issued and not self.active and not self.operand_rows and not skips and not sets
            if blocked_scores:
                cause = "softmax"
            elif blocked_accumulators or late or (starts and not slot):
                cause = "vector"
            elif starts and head.attention and not softmax.command_ready():
                cause = "softmax"
            elif self.active and passing:
                cause = "bank_imbalance"
            elif lacking or lacking_row:
                cause = cause_of(lacking or lacking_row)
            elif self.active and needs and denied:
                cause = "port_conflict"
            elif (
                self.active
                and attention
                and no_pass
                and not needs
                and not pushed
                and not all_pushed
            ):
                cause = "softmax"
            elif self.active or issued:
                cause = "issue"
            elif head is None:
                halted = self.fetch.halted <= t
                cause = "drain" if halted and self.queue.empty(t) else "fetch"
            else:
                cause = "unattributed"
            self.stalls[cause] += 1

        # Everything moves
        softmax_accepts = softmax.command_ready()
        if scheduled and sources.by_lists:
            softmax.reserve(steps, row_queries)
        reserved = steps if scheduled else 0
        softmax.step(self.scores, reserved, released, row_taken, scale_taken)
        if scores_ready:
            self.scores = 0
        if accumulators_taken:
            self.accumulators = False
        if advance:
            pipe.pop()
            pipe.insert(0, code)
            if tail == RESULT:
                self.accumulators = True
            elif tail >= GROUP:
                self.scores = tail
        if granted:
            self.reads.cycles.add(t)
        flying = self.flying
        if buffered and (queries_ready if attention else word_taken):
            end = self.buffer.pop(0)
            if attention and end:
                queries.filled()
        if flying:
            self.buffer.append(flying - 1)
        if scheduled:
            queries.schedule(row_queries)
        if last and kind in (Pass.SCORE, Pass.PAIR, Pass.BOTH):
            queries.done(2 if kind == Pass.BOTH else 1)
        self.flying = 0
        if granted:
            self.flying = 1
            self.operand_left -= 1
            if not self.operand_left:
                self.flying = 2
                self.operand_left = operation.operand_words
                self.operand_rows -= 1
                self.credited = operation.token_wait is None
        elif token_ready:
            self.credited = True
            operation.token_wait.taken += 1
            self.skipper.takes.append(t)
        if pushed and choose_value:
            self.value_word = 0 if row_taken else self.value_word + 1
            self.values_left -= row_taken
        elif pushed:
            self.rows_left -= row_queries
        if pushed:
            self.turn = started == Pass.PACKED_END
        if finished:
            self.active = False
        accepted = issued and not self.operand_rows and slot and not skips and not sets
        accepted = accepted and (not head.attention or softmax_accepts)
        if accepted:
            self._accept(t, head)
        elif sets or (skips and rests):
            self._skip(t, head)
        if epilogue.placing or (accepted and head.command.placed):
            epilogue.step_places(head.command if accepted else None)
        self.time = t + 1
        stands = before is not None and not fired and before == self.state()
        if stands and not skips and not sets and not (self.active and self.next_skips()):
            self.still = (seen, cause, lacking or lacking_row)
            self._jump(t, cause, lacking or lacking_row)
        else:
            self.waiting = []
        if accepted or (last and kind in ROW_ENDS):
            self.skipper.checkpoint()
        return True

    def _accept(self, t: int, head: ArrayOperation) -> None:
        """The instruction leaves its queue."""
        self.take(t, head)
        if head.pc in self.marks:
            self.marks[head.pc] = (self.busy, dict(self.stalls))
        self.epilogue.enter(head.command)
        if head.attention:
            self.softmax.start(head.rows, head.key_words, head.collects, head.left)
        self.active, self.operation, self.attention = True, head, head.attention
        self.rows_left = head.rows
        self.values_left = head.rows if head.attention else 0
        self.value_word = 0
        self.operand_rows, self.operand_left = head.rows, head.operand_words
        self.credited = head.token_wait is None
        self.sources.begin(head)

    def _skip(self, t: int, head: ArrayOperation) -> None:
        """SIEVE, or an instruction without rows: only its credits."""
        self.take(t, head)
        if head.sets:
            self.masked = head.masked
        if head.pc in self.marks:
            self.marks[head.pc] = (self.busy, dict(self.stalls))
        for credits in head.signal:
            credits.gives.append(t)

    def _jump(self, t: int, cause: str, lacking: list[Credits]) -> None:
        """Nothing has changed in cycle t: go to the cycle in which something may."""
        due = 0
        if lacking:
            until = min(credits.next_change() for credits in lacking)
        else:
            due = self.queue.head()
            until = self.fetch.time + 1 if due is None else due
            if self.fetch.halted > t:
                until = min(until, self.fetch.halted)
        self.waiting = lacking or ([self.queue] if due is None else [])
        if until >= NEVER:
            self.idle_since, self.time = t, NEVER
            return
        if self.active and not lacking:
            raise RuntimeError(f"cycle {t}: the array stands still and waits for nothing")
        until = max(until, t + 1)
        self.stalls[cause] += until - t - 1
        self.time = until
