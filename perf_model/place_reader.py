"""The timing of the places of keys and values: `rtl_gen.postproc.place_reader`."""

from collections import deque

from spec.config import Config

__all__ = ["PlaceReader"]


class PlaceReader:
    """Asks for a row's token, then for the word with its place; `places` wait for the writer."""

    def __init__(self, config: Config) -> None:
        self.depth = 4 if config.lanes > config.vector_lanes else 8
        self.commands: deque[int] = deque()
        """Rows of the instructions of which not every row has been asked for."""
        self.row = self.claimed = 0
        self.origin = False
        """A row's token comes in this cycle."""
        self.origins = 0
        self.word = self.came = False
        """A word comes in this cycle; one came in the cycle before."""
        self.places = 0

    def state(self) -> tuple:
        """What changes whenever anything moves."""
        return (
            len(self.commands),
            self.row,
            self.claimed,
            self.origin,
            self.origins,
            self.word,
            self.came,
            self.places,
        )

    @property
    def busy(self) -> bool:
        """Something is in work."""
        return bool(self.commands or self.claimed)

    @property
    def wants_origin(self) -> bool:
        """Whether it asks for the token of a row."""
        return bool(self.commands) and self.claimed != self.depth

    @property
    def wants_word(self) -> bool:
        """Whether it asks for a word of token memory."""
        return self.origins != 0

    def step(self, granted: bool, origin: bool, taken: bool, entered: int) -> None:
        """One cycle.

        granted, origin : the word, the token of a row was asked for
        taken : a place is used
        entered : rows of a placed instruction that enters the epilogue, 0: none does
        """
        self.places += self.came - taken
        self.claimed += origin - taken
        self.came = self.word
        self.word = granted
        self.origins += self.origin - granted
        self.origin = origin
        self.row += origin
        if self.commands and self.row == self.commands[0]:
            self.commands.popleft()
            self.row = 0
        if entered:
            self.commands.append(entered)
