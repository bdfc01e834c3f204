"""The timing of P.V over a packed ring: `rtl_gen.index_engine.prob_rows`."""

__all__ = ["ProbRows"]


class ProbRows:
    """Three stages: the row whose words are asked for, the word that is read, the step."""

    def __init__(self) -> None:
        self.asks = 0
        """Words of the row in hand that have not been asked for."""
        self.read = self.read_last = False
        self.valid = self.last = False
        """A step is there to be taken, and ends its row."""

    def state(self) -> tuple:
        """What changes whenever anything moves."""
        return (self.asks, self.read, self.read_last, self.valid, self.last)

    def moves(self, taken: bool) -> bool:
        """Whether the word that was read becomes the step, if the step is `taken`."""
        return self.read and (not self.valid or taken)

    def ready(self, taken: bool) -> bool:
        """Whether a walk can come in."""
        return not self.asks or (self.asks == 1 and (not self.read or self.moves(taken)))

    def step(self, taken: bool, words: int) -> None:
        """One cycle: whether the step is taken, and the words of a row that comes in (0: none)."""
        moves = self.moves(taken)
        issue = self.asks and (not self.read or moves)
        if moves:
            self.last = self.read_last
        self.valid = moves or (self.valid and not taken)
        if issue:
            self.read_last = self.asks == 1
            self.asks -= 1
        self.read = bool(issue) or (self.read and not moves)
        if words:
            self.asks = words
