"""The timing of the stationary query vectors: `rtl_gen.sequencer.query_buffer`."""

__all__ = ["QueryBuffer"]


class QueryBuffer:
    """Rows of it, in a ring: filled, complete, in use."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.occupied, self.loaded = [False] * rows, [False] * rows
        self.fill = self.next_row = self.use = 0

    def state(self) -> tuple:
        """What changes whenever anything moves."""
        return (tuple(self.occupied), tuple(self.loaded))

    def ready(self, queries: int) -> bool:
        """Whether the next one or two rows are complete."""
        return self.loaded[self.next_row] and (
            queries == 1 or self.loaded[(self.next_row + 1) % self.rows]
        )

    def filled(self) -> None:
        """The last word of a row has come."""
        self.occupied[self.fill] = self.loaded[self.fill] = True
        self.fill = (self.fill + 1) % self.rows

    def schedule(self, queries: int) -> None:
        """The next rows are to be used."""
        for _ in range(queries):
            self.loaded[self.next_row] = False
            self.next_row = (self.next_row + 1) % self.rows

    def done(self, queries: int) -> None:
        """Those in use are no more."""
        for _ in range(queries):
            self.occupied[self.use] = False
            self.use = (self.use + 1) % self.rows
