"""Where array steps come from, in time: `rtl_gen.index_engine` with all its sources."""

from perf_model.operations import ArrayOperation
from perf_model.pair_walk import ListSource, PairWalker
from perf_model.prob_rows import ProbRows
from perf_model.softmax import GROUP, ROW_END
from perf_model.zero_search import ZeroSearch
from rtl_gen.sequencer.pass_choice import PASSES_AHEAD
from spec.config import Config

__all__ = ["RESULT", "ROW_ENDS", "STEP", "Pass", "Sources"]

STEP, RESULT = 1, 2
"""In the array's pipeline: a step, and one that finishes an accumulation. 0 is empty."""


class Pass:
    """Kinds of a pass; those up to VALUE_END are walked row by row.

    VALUE_END, PACKED_END: the last of a probability row, of a packed ring or not; SEARCH: fully
    connected, without zeros; PAIR: scores of a list, of two queries with BOTH.
    """

    FC, SCORE, VALUE, VALUE_END, SEARCH, PAIR, BOTH, PACKED, PACKED_END = range(9)


ROW_ENDS = (Pass.FC, Pass.VALUE_END)
"""Passes that end a row that may be like the next one."""


class Sources:
    """The passes in their order, and what each source has in hand."""

    def __init__(self, config: Config) -> None:
        self.slices = config.lanes // config.banks
        self.passes: list[int] = []
        self.steps_left = self.steps_done = 0
        """Of the pass that is walked row by row."""
        self.search = ZeroSearch(config.banks)
        self.walker, self.lists, self.probs = PairWalker(config), ListSource(), ProbRows()
        self.searches = self.by_lists = self.packed = False
        """What the instruction in hand needs."""
        self.values: list[int] = []
        """Words of its probability rows in the packed ring."""
        self.value = 0
        """The next one that has not been walked to its end."""
        self.releases: list[int] = []
        """Those that are, or are to be."""
        self.kind = Pass.FC
        self.last = self.word_taken = False
        """The step of this cycle ends its pass, uses up its operand word."""
        self.sparse_steps = 0
        """Of which banks may have stood idle."""

    def state(self) -> tuple:
        """What changes whenever anything moves."""
        return (
            tuple(self.passes),
            self.steps_left,
            self.steps_done,
            self.search.state() if self.searches else (),
            (self.walker.state(), self.lists.state()) if self.by_lists else (),
            self.probs.state() if self.packed else (),
        )

    def begin(self, operation: ArrayOperation) -> None:
        """Take an instruction, at the end of a cycle in which no pass was left."""
        left = operation.left
        self.searches = left is not None and left.words is not None
        self.by_lists = left is not None and left.pairs is not None
        self.packed = left is not None and left.values is not None
        if left is None:
            return
        if left.words is not None:
            self.search.begin(left.words)
        if left.pairs is not None:
            self.walker.start(left.pairs, operation.rows, left.list_words)
        if left.values is not None:
            self.values, self.value = left.values, 0

    @property
    def there(self) -> bool:
        """Whether a step can be taken as soon as the array advances."""
        if not self.passes:
            return False
        kind = self.passes[0]
        if kind <= Pass.VALUE_END:
            return self.steps_left != 0
        if kind == Pass.SEARCH:
            return self.search.valid
        return self.lists.valid if kind <= Pass.BOTH else self.probs.valid

    def fire(self, buffered: bool, head_words: int) -> int:
        """The step of a cycle in which the array advances, as its pipeline knows it; 0: none."""
        self.last = self.word_taken = False
        if not self.passes:
            return 0
        self.kind = kind = self.passes[0]
        if kind <= Pass.VALUE_END:
            left = self.steps_left
            if not left or (kind == Pass.FC and not buffered):
                return 0
            self.last = left == 1
            if kind == Pass.SCORE:
                if self.steps_done % head_words != head_words - 1:
                    return STEP
                return ROW_END if self.last else GROUP
            if kind == Pass.FC:
                slices = self.slices
                self.word_taken = self.last or self.steps_done & (slices - 1) == slices - 1
            return RESULT if self.last else STEP
        if kind == Pass.SEARCH:
            source = self.search
        elif kind <= Pass.BOTH:
            source = self.lists
        else:
            source = self.probs
        if not source.valid:
            return 0
        self.sparse_steps += 1
        self.last = source.last
        if source is self.lists:
            return ROW_END if self.last else GROUP if self.lists.group_last else STEP
        return RESULT if self.last else STEP

    def ready(self, value: bool, fired: bool, buffered: bool) -> bool:
        """Whether the next pass can be walked: P.V of a finished row if `value`."""
        if len(self.passes) == PASSES_AHEAD:
            return False
        if self.searches:
            return bool(buffered and self.search.room and self.search.fresh)
        if self.by_lists and not value:
            entry = self.walker.entries != 0
            return self.lists.ready(fired and self.kind in (Pass.PAIR, Pass.BOTH), entry)
        if self.packed and value:
            return self.probs.ready(fired and self.kind >= Pass.PACKED)
        dense = fired and self.kind <= Pass.VALUE_END
        return not self.steps_left or (dense and self.last)

    def searched_word(self, pushed: bool, buffered: bool) -> bool:
        """Whether the search takes an operand word; a row's first one comes with its pass."""
        search = self.search
        return bool(buffered and search.room and (pushed or not search.fresh))

    def move(self, fired: bool, started: int, operation: ArrayOperation, word: bool) -> None:
        """The end of a cycle without lists: a step was taken, a pass `started` (-1: none).

        word : the search takes an operand word
        """
        kind = self.kind
        if fired:
            if kind <= Pass.VALUE_END:
                self.steps_left -= 1
                self.steps_done += 1
            if self.last:
                self.passes.pop(0)
        if started >= 0:
            self.passes.append(started)
            if started <= Pass.VALUE_END:
                self.steps_done = 0
                scores = started == Pass.SCORE
                self.steps_left = operation.score_steps if scores else operation.steps
        if self.searches:
            self.search.step(fired, word)
        if self.packed:
            words = self.values[self.value] if started >= Pass.PACKED else 0
            self.probs.step(fired and kind >= Pass.PACKED, words)
            if started == Pass.PACKED_END:
                self.releases.append(words)
                self.value += 1

    def move_lists(
        self,
        fired: bool,
        steps: int,
        head_words: int,
        granted: bool,
        origin: bool,
    ) -> bool:
        """The same for lists, after `move`; whether a pair without live queries is passed.

        steps : of the pair whose pass has started, 0: none has
        granted, origin : a word of lists, the token of a row was asked for
        """
        taken = fired and self.kind in (Pass.PAIR, Pass.BOTH)
        entry = self.walker.entries != 0
        loads = self.lists.loads(taken, entry)
        self.lists.step(taken, entry, head_words, steps)
        return self.walker.step(granted, origin, steps != 0, loads)

    def released(self) -> int:
        """Ring words of the row whose last pass has ended."""
        return self.releases.pop(0)
