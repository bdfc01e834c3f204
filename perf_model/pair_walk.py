"""The timing of lists of kept scores: their reader, the walker of pairs, and the source of steps.

`rtl_gen.sequencer.list_reader`, `rtl_gen.sequencer.pair_walker` and `rtl_gen.index_engine.lists`.
"""

from collections import deque

from spec.config import Config

__all__ = ["ListSource", "PairWalker"]

PAIRS_AHEAD, STEPS_AHEAD, ORIGINS_AHEAD = 4, 8, 3


class PairWalker:
    """Reads steps of lists a token-memory word at a time; headers and steps go on one a cycle."""

    def __init__(self, config: Config) -> None:
        self.slices = config.lanes // config.banks
        self.depth = max(2, min(4, 8 * config.banks // config.lanes))
        # reader
        self.words = self.level = self.at = self.steps = 0
        """Words to ask for, words in its buffer, steps taken of the first, steps left."""
        self.flying = False
        # origins
        self.have = self.to_ask = 0
        self.asked = False
        # walker
        self.list: list[tuple[int, int]] = []
        """Steps and live queries of the pairs."""
        self.number = self.rows_left = self.left = 0
        self.alive = self.looked = False
        self.pairs: deque[tuple[int, int]] = deque()
        self.entries = 0
        """Steps that wait."""
        self.words_used = 0

    def state(self) -> tuple:
        """What changes whenever anything moves."""
        return (
            self.words,
            self.level,
            self.at,
            self.steps,
            self.flying,
            self.have,
            self.to_ask,
            self.asked,
            self.number,
            self.left,
            self.alive,
            self.looked,
            len(self.pairs),
            self.entries,
        )

    def start(self, pairs: list[tuple[int, int]], rows: int, words: int) -> None:
        """Begin an instruction, at the end of a cycle."""
        self.list, self.number, self.rows_left, self.left = pairs, 0, rows, 0
        self.words, self.steps, self.at, self.level = words, words * self.slices, 0, 0
        self.flying = self.asked = False
        self.have, self.to_ask = 0, rows

    @property
    def active(self) -> bool:
        """Not all queries have been found."""
        return bool(self.rows_left or self.left)

    @property
    def wants_word(self) -> bool:
        """Whether it asks for a word of token memory."""
        return self.words != 0 and self.level + self.flying < self.depth

    @property
    def wants_origin(self) -> bool:
        """Whether it asks for the token of a row."""
        return self.to_ask != 0 and self.have + self.asked < ORIGINS_AHEAD

    def step(self, granted: bool, origin: bool, pair_taken: bool, entry_taken: bool) -> bool:
        """One cycle; whether something without live queries is passed.

        granted, origin : a word of lists, the token of a row was asked for
        pair_taken, entry_taken : from those that wait
        """
        heads, active = self.left == 0, self.active
        taken = passing = False
        used = 0
        if self.level and self.steps:
            if heads:
                known = self.have >= 2 or (self.have == 1 and not self.to_ask and not self.asked)
                taken = bool(self.rows_left and known and len(self.pairs) < PAIRS_AHEAD)
            else:
                taken = not self.alive or self.entries < STEPS_AHEAD - 1
        # what waits
        if pair_taken:
            self.pairs.popleft()
        self.entries += self.looked - entry_taken
        self.looked = taken and not heads and self.alive
        if taken and heads:
            steps, queries = self.list[self.number]
            self.number += 1
            self.left, self.alive = steps, queries != 0
            passing = not queries
            if queries:
                self.pairs.append((steps, queries))
                used = queries
        elif taken:
            self.left -= 1
            passing = not self.alive
        self.rows_left -= used
        # origins
        self.have += self.asked - used
        self.asked = origin
        self.to_ask -= origin
        # words
        self.level += self.flying
        self.flying = granted
        self.words -= granted
        if taken:
            self.words_used += self.at == 0
            self.steps -= 1
            self.at += 1
            if self.at == self.slices:
                self.at = 0
                self.level -= 1
        if not active:
            self.words = 0
        return passing


class ListSource:
    """A step of a list in hand, for each inner word of the head."""

    def __init__(self) -> None:
        self.left = 0
        """Steps of the pair in hand that have not come."""
        self.words_left = 0
        """Array steps of the step in hand; the first is the one that is there."""
        self.ends = False
        """It is its pair's last one."""

    @property
    def valid(self) -> bool:
        """A step is there to be taken."""
        return self.words_left != 0

    @property
    def group_last(self) -> bool:
        """It is the last of its scores."""
        return self.words_left == 1

    @property
    def last(self) -> bool:
        """It ends its pair."""
        return self.words_left == 1 and self.ends

    def state(self) -> tuple:
        """What changes whenever anything moves."""
        return (self.left, self.words_left, self.ends)

    def loads(self, taken: bool, entry: bool) -> bool:
        """Whether an entry is taken, if the step is `taken` and an entry is there."""
        return bool(self.left and entry and (not self.words_left or (taken and self.group_last)))

    def ready(self, taken: bool, entry: bool) -> bool:
        """Whether a walk can come in."""
        return not self.left or (self.left == 1 and self.loads(taken, entry))

    def step(self, taken: bool, entry: bool, words: int, steps: int) -> None:
        """One cycle.

        taken, entry : the step is taken, an entry is there
        words : of the head; steps : of a pair that comes in (0: none does)
        """
        loads = self.loads(taken, entry)
        if loads:
            self.ends = self.left == 1
            self.words_left = words
            self.left -= 1
        elif taken and self.words_left:
            self.words_left -= 1
        if steps:
            self.left = steps
