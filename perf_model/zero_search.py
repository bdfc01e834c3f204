"""The timing of the search for scalars: `rtl_gen.index_engine.nonzero`."""

from rtl_gen.index_engine.nonzero import SEARCH_WORDS

__all__ = ["ZeroSearch"]


class ZeroSearch:
    """Words of scalars to take, a byte a bank: only how many there are matters, not which."""

    def __init__(self, banks: int) -> None:
        self.ones = sum(1 << 8 * bank for bank in range(banks))
        self.carry = 127 * self.ones
        """Added to counts below 128, sets the upper bit of those that are not 0."""
        self.pending: list[int] = []
        """Scalars to take of the words that came in, oldest first."""
        self.ends: list[bool] = []
        """Whether they are the last ones of their rows."""
        self.rows: list[list[int]] = []
        """Of the instruction in hand."""
        self.row = self.word = 0
        """The next word to come in."""
        self.fresh = True
        """It is a row's first one."""
        self.there = self.now_last = False
        """A step waits until it is known whether it is its row's last one; it is known."""
        self.valid = self.last = False
        """A step is there to be taken, and ends its row."""
        self.poor_now = self.poor_step = False

    def begin(self, rows: list[list[int]]) -> None:
        """The rows of the next instruction."""
        self.rows, self.row, self.word = rows, 0, 0
        self.poor_now = self.poor_step = False

    @property
    def room(self) -> bool:
        """Whether another word can come in."""
        return len(self.pending) < SEARCH_WORDS

    @property
    def busy(self) -> bool:
        """Something is in work."""
        return self.valid or self.there or bool(self.pending) or not self.fresh

    @property
    def passing(self) -> bool:
        """There is no step, because the words passed held no scalar to take."""
        return self.poor_step and not self.valid

    def state(self) -> tuple:
        """What changes whenever anything moves."""
        return (
            tuple(self.pending),
            self.row,
            self.word,
            self.there,
            self.now_last,
            self.valid,
            self.last,
            self.poor_now,
            self.poor_step,
        )

    def step(self, taken: bool, enters: bool) -> None:
        """One cycle: whether the step is taken (or could be), and whether a word comes in."""
        pending, ends = self.pending, self.ends
        there, free = self.there, not self.valid or taken
        view = len(pending)
        ended = True in ends
        if ended:
            view = ends.index(True) + 1
        something = any(pending[:view])
        opened = there and not self.now_last
        goes = there and free and (self.now_last or something or ended)
        selects = (something or (ended and not opened)) and (not there or goes)
        poor = view != 0 and not something and not (ended and not opened)
        if free:
            self.poor_step = not goes and (poor if there else self.poor_now)
            self.valid = goes
            if goes:
                self.last = self.now_last or not something
        if not there or goes:
            self.poor_now = poor
        if selects:
            self.there = True
            rest = self._take(view)
            self.now_last = ended and not rest
            drops = True
        else:
            if goes:
                self.there = False
            drops = not something and (not ended or (opened and goes))
        if drops:
            gone = 0
            while gone < view and not pending[gone]:
                gone += 1
            del pending[:gone], ends[:gone]
        if enters:
            self._enter()

    def _take(self, view: int) -> bool:
        """Each bank's first scalar in view; whether any is left."""
        pending = self.pending
        ones, carry = self.ones, self.carry
        need, rest = ones, 0
        for at in range(view):
            word = pending[at]
            if word:
                found = (word + carry) >> 7 & need
                need ^= found
                pending[at] = word = word - found
                rest |= word
        return rest != 0

    def _enter(self) -> None:
        """The next word comes in."""
        words = self.rows[self.row]
        self.pending.append(words[self.word])
        self.word += 1
        self.fresh = self.word == len(words)
        self.ends.append(self.fresh)
        if self.fresh:
            self.row += 1
            self.word = 0
