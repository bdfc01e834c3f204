"""The array queue's executor in time: controller, operands, array, softmax and epilogue.

Cycle by cycle, as `rtl_gen.sequencer.array_controller` and its units go; it meets the other units
only through credits and through the memory ports, of which it has the first choice. When a row
takes the same way as the row before, the rows that will do so too are skipped (`perf_model.skip`).
"""

from perf_model.epilogue import Epilogue
from perf_model.executor import Executor
from perf_model.operations import ArrayOperation
from perf_model.skip import RowSkipper
from perf_model.softmax import GROUP, ROW_END, Softmax
from perf_model.timeline import NEVER, Credits, Port, cause_of
from perf_model.zero_search import ZeroSearch
from spec.config import Config
from spec.registers import STALLS

__all__ = ["Array"]

OPERAND_WORDS = 4
"""Depth of the operand reader's buffer."""
PASSES = 4
"""Passes that are walked or wait to be."""
FC, SCORE, VALUE, VALUE_END = range(4)
"""Kinds of a pass; VALUE_END: the last of a probability row."""
ROW_ENDS = (FC, VALUE_END)
STEP, RESULT = 1, 2
"""In the array's pipeline: a step, and one that finishes an accumulation. 0 is empty."""


class Array(Executor[ArrayOperation]):
    """Runs as far as what it waits for is known."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.reads, self.token_writes, self.row_writes = Port(), Port(), Port()
        self.epilogue = Epilogue(config, self.reads, self.token_writes, self.row_writes)
        self.softmax = Softmax(config)
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
        self.passes: list[int] = []
        # operands
        self.operand_rows = self.operand_left = 0
        self.credited = False
        self.flying = 0
        """1 a word is on its way, 2 it is a row's last."""
        self.buffer: list[int] = []
        # query buffer
        self.occupied, self.loaded = [False, False], [False, False]
        self.fill = self.next_row = self.use = 0
        # index engine
        self.steps_left = self.steps_done = 0
        self.kind = FC
        self.search = ZeroSearch(config.banks)
        self.searches = False
        # array
        self.pipe = [0] * (3 + config.register_operands)
        self.accumulators = False
        self.scores = 0
        self.slices = config.lanes // config.banks
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
            tuple(self.passes),
            self.rows_left,
            self.values_left,
            self.operand_rows,
            self.value_word,
            self.operand_left,
            self.credited,
            self.flying,
            tuple(self.buffer),
            tuple(self.occupied),
            tuple(self.loaded),
            self.steps_left,
            self.steps_done,
            self.kind,
            self.search.state() if self.searches else (),
            tuple(self.pipe),
            self.accumulators,
            self.scores,
            self.epilogue.state(),
            self.softmax.state(),
        )

    def idle_from(self) -> int:
        """The first cycle without anything to do, once nothing is left."""
        return self.epilogue.idle_from()

    def row_bank(self, t: int) -> int:
        """The bank of the row-memory write of cycle t."""
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
        wants_to_skip = False
        if self.active and self.next_skips():
            found = self.head(t)
            if found is None:
                return False
            wants_to_skip = found[0] is not None and not found[1]
        if self.active and self.operand_rows and not self.credited:
            self.waits += not token_ready
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
        before = None
        search = self.search
        if not self.buffer and not self.steps_left and not search.valid:
            before = self.state()

        epilogue, softmax = self.epilogue, self.softmax
        slot = epilogue.used < epilogue.slots
        sets = issued and head.sets
        skips = issued and head.skips
        rests = not self.active and not epilogue.used and t > epilogue.give_time
        late = wants_to_skip or (skips and not rests)
        accumulators_taken, scale_taken = epilogue.step(t, self.accumulators, softmax.scales > 0)
        scores_ready = softmax.scores_ready()
        # Array: does it advance?
        pipe = self.pipe
        tail = pipe[-1]
        blocked_accumulators = tail == RESULT and self.accumulators
        blocked_scores = tail >= GROUP and self.scores and not scores_ready
        advance = not (blocked_accumulators or blocked_scores)
        # The step
        attention = self.attention
        searches = self.searches
        step = search.valid if searches else self.steps_left
        passing = searches and search.passing
        fired = bool(step and advance and (attention or searches or self.buffer))
        last = fired and (search.last if searches else step == 1)
        kind = self.kind
        code = word_taken = 0
        if fired:
            self.busy += 1
            code = STEP
            if kind == SCORE:
                head_words = self.operation.head_words
                if self.steps_done % head_words == head_words - 1:
                    code = ROW_END if last else GROUP
            else:
                if last:
                    code = RESULT
                if kind == FC and not searches:
                    word_taken = last or (self.steps_done & (self.slices - 1)) == self.slices - 1
        released = 0
        if last and kind == VALUE_END:
            released = self.operation.key_words
        # Which pass next
        operation = self.operation
        walk_ready = not self.steps_left or last
        enters = False
        if searches:
            enters = self.buffer and search.room
            walk_ready = enters and search.fresh
        passes = self.passes
        pushed = row_taken = scheduled = False
        reserved = 0
        walkable = walk_ready and len(passes) < PASSES
        choose_value = self.active and self.values_left and softmax.rows
        row_possible = (
            self.active
            and self.rows_left
            and not choose_value
            and (not attention or self.loaded[self.next_row])
        )
        started = None
        if walkable:
            if choose_value:
                pushed = True
                started = VALUE
                if self.value_word == operation.head_words - 1:
                    started, row_taken = VALUE_END, True
            elif row_possible:
                if not attention:
                    pushed, started = True, FC
                elif softmax.can_reserve(operation.key_words):
                    pushed, started, scheduled = True, SCORE, True
                    reserved = operation.key_words
        if searches:
            # a row's first word comes in with its pass
            enters = word_taken = bool(enters and (pushed or not search.fresh))
            search.step(advance, enters)
        all_pushed = not self.rows_left and not self.values_left
        outstanding = len(passes)
        finished = self.active and all_pushed and (outstanding == 0 or (outstanding == 1 and last))
        # Operands
        request = self.operand_rows and self.credited
        request = request and len(self.buffer) + (self.flying != 0) < OPERAND_WORDS
        granted = request and not epilogue.denies
        denied = request and not granted
        queries_ready = attention and not self.occupied[self.fill]
        buffered = bool(self.buffer)
        query_loaded = self.loaded[self.next_row]

        # Why nothing moves
        if not fired:
            no_pass = outstanding == 0
            needs = not buffered
            if attention:
                needs = self.rows_left and not query_loaded and no_pass
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
            elif (self.active and (not step or not buffered)) or issued:
                cause = "issue"
            elif head is None:
                halted = self.fetch.halted <= t
                cause = "drain" if halted and self.queue.empty(t) else "fetch"
            else:
                cause = "unattributed"
            self.stalls[cause] += 1

        # Everything moves
        softmax_accepts = softmax.command_ready()
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
                self.occupied[self.fill] = self.loaded[self.fill] = True
                self.fill ^= 1
        if flying:
            self.buffer.append(flying - 1)
        if scheduled:
            self.loaded[self.next_row] = False
            self.next_row ^= 1
        if last and kind == SCORE:
            self.occupied[self.use] = False
            self.use ^= 1
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
        if fired and not searches:
            self.steps_left -= 1
            self.steps_done += 1
        if last:
            passes.pop(0)
        if pushed and searches:
            passes.append(started)
            self.rows_left -= 1
        elif pushed:
            passes.append(started)
            self.kind, self.steps_done = started, 0
            self.steps_left = operation.score_steps if started == SCORE else operation.steps
            if choose_value:
                self.value_word = 0 if row_taken else self.value_word + 1
                self.values_left -= row_taken
            else:
                self.rows_left -= 1
        if finished:
            self.active = False
        accepted = issued and not self.operand_rows and slot and not skips and not sets
        accepted = accepted and (not head.attention or softmax_accepts)
        if accepted:
            self._accept(t, head)
        elif sets or (skips and rests):
            self._skip(t, head)
        self.time = t + 1
        stands = before is not None and not fired and before == self.state()
        if stands and not skips and not sets and not (self.active and self.next_skips()):
            self.still = (seen, cause, lacking or lacking_row)
            self._jump(t, cause, lacking or lacking_row)
        else:
            self.waiting = []
        if (accepted or (last and kind in ROW_ENDS)) and not searches:
            self.skipper.checkpoint()
        return True

    def _accept(self, t: int, head: ArrayOperation) -> None:
        """The instruction leaves its queue."""
        self.take(t, head)
        if head.pc in self.marks:
            self.marks[head.pc] = (self.busy, dict(self.stalls))
        self.epilogue.enter(head.command)
        if head.attention:
            self.softmax.start(head.rows, head.key_words, head.collects)
        self.active, self.operation, self.attention = True, head, head.attention
        self.rows_left = head.rows
        self.values_left = head.rows if head.attention else 0
        self.value_word = 0
        self.operand_rows, self.operand_left = head.rows, head.operand_words
        self.credited = head.token_wait is None
        self.searches = head.left is not None and head.left.words is not None
        if self.searches:
            self.kind = FC
            self.search.begin(head.left.words)

    def _skip(self, t: int, head: ArrayOperation) -> None:
        """SIEVE, or an instruction without rows: only its credits."""
        self.take(t, head)
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
