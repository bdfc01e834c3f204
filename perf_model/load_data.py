"""The data side of loads in time: `rtl_gen.dma.load_writer`."""

from perf_model.array import Array
from perf_model.operations import LoadOperation
from perf_model.timeline import Unit, port_busy
from perf_model.vector import Vector
from spec.config import Config

__all__ = ["LoadData"]

LOADS_AHEAD = 4


class LoadData:
    """Where the load in hand is, and the finished word that waits to be written."""

    def __init__(self, config: Config, array: Array, vector: Vector, clock: Unit) -> None:
        self.config = config
        self.array, self.vector = array, vector
        self.clock = clock
        self.loads: list[LoadOperation] = []
        self.pushes: list[int] = []
        self.pops: list[int] = []
        self.position = 0
        """Beats of the load in hand that have been taken."""
        self.held = False
        self.held_from = 0
        self.held_row = 0
        self.held_operation: LoadOperation
        self.idle_from = 0
        self.ends: dict[int, int] = {}

    def room(self, t: int) -> bool:
        """Whether one more load can be asked for in cycle t."""
        popped = len(self.pops)
        while popped and self.pops[popped - 1] >= t:
            popped -= 1
        return len(self.pushes) - popped < LOADS_AHEAD

    def room_time(self) -> int | None:
        """The cycle in which there will be room, if it is known."""
        needed = len(self.pushes) - LOADS_AHEAD
        return self.pops[needed] + 1 if needed < len(self.pops) else None

    def push(self, t: int, operation: LoadOperation) -> None:
        """The data of a load have been asked for."""
        self.loads.append(operation)
        self.pushes.append(t)

    @property
    def operation(self) -> LoadOperation:
        """The load in hand."""
        return self.loads[len(self.pops)]

    def written(self, t: int) -> bool | None:
        """Whether the finished word is written in cycle t; None if that is not known yet."""
        if not self.held or t < self.held_from:
            return False
        array = self.array
        if self.held_operation.to_tokens:
            busy = port_busy(array, array.token_writes, t, self.clock)
            if not busy:
                other = port_busy(self.vector, self.vector.writes, t, self.clock)
                busy = None if busy is None or other is None else other
            return None if busy is None else not busy
        busy = port_busy(array, array.row_writes, t, self.clock)
        if busy:
            bank = array.row_bank(t)
            return bank >= 0 and bank != self.held_row % self.config.banks
        return None if busy is None else True

    def write(self, t: int) -> None:
        """The finished word is written, and gives its credits."""
        self.held = False
        self.idle_from = t + 1
        operation, row = self.held_operation, self.held_row
        if row < 0:
            return
        if operation.to_tokens and operation.token_signal:
            operation.token_signal.gives.append(t)
        if row == operation.rows - 1:
            self.ends[operation.pc] = t
            for credits in operation.signal:
                credits.gives.append(t)

    @property
    def nothing(self) -> bool:
        """Whether the load in hand, if there is one, only gives credits."""
        return len(self.loads) > len(self.pops) and not self.operation.beats

    def nothing_time(self) -> int:
        """The cycle in which such a load is done, if no word waits then."""
        number = len(self.pops)
        return max(self.pushes[number], self.pops[-1] if number else 0) + 1

    def skip(self, t: int, held: bool) -> None:
        """A cycle of a load that only gives credits."""
        if held or t < self.nothing_time():
            return
        for credits in self.operation.signal:
            credits.gives.append(t)
        self.pops.append(t)
        self.idle_from = t + 1

    def countable(self) -> bool:
        """Whether nothing can hold up the beats of the load in hand."""
        operation = self.operation
        if self.held and (
            self.held_operation.to_tokens or not operation.tables or operation.table_beats < 3
        ):
            return False
        return not (
            operation.to_tokens
            or (operation.tables and operation.table_beats < 2)
            or (operation.rows and operation.word_beats < 2)
        )

    def count(self, beats: int, end: int) -> None:
        """`beats` are taken without waiting, the last one in cycle `end`."""
        operation = self.operation
        self.position += beats
        if self.position == operation.beats:
            self._finish(end)

    def _finish(self, t: int) -> None:
        """The last beat of a load is taken in cycle t."""
        operation = self.operation
        self.pops.append(t)
        self.position = 0
        if operation.rows:
            self._hold(operation, t, operation.rows - 1)
            return
        self.idle_from = t + 1
        self.ends[operation.pc] = t
        for credits in operation.signal:
            credits.gives.append(t)

    def _hold(self, operation: LoadOperation, t: int, row: int) -> None:
        self.held, self.held_from = True, t + 1
        self.held_operation, self.held_row = operation, row

    def ready(self, held: bool, written: bool) -> bool:
        """Whether a beat would be taken in a cycle that begins with a held word, or writes it."""
        operation = self.operation
        table_end = operation.tables * operation.table_beats
        after = self.position + 1
        if after <= table_end:
            return after % operation.table_beats != 0 or not held
        return (after - table_end) % operation.word_beats != 0 or not held or written

    def beats_to_word_end(self) -> int:
        """Beats of the load in hand up to the end of a word; only that one may have to wait."""
        operation = self.operation
        table_end = operation.tables * operation.table_beats
        if self.position < table_end:
            return operation.table_beats - self.position % operation.table_beats
        return operation.word_beats - (self.position - table_end) % operation.word_beats

    def take(self, t: int) -> None:
        """A beat is taken in cycle t."""
        operation = self.operation
        self.position += 1
        if self.position == operation.beats:
            self._finish(t)
            return
        at = self.position - operation.tables * operation.table_beats
        if at <= 0 or at % operation.word_beats:
            return
        row_beats = operation.words * operation.word_beats
        if operation.to_tokens:
            # -1: not the last word of its row
            self._hold(operation, t, at // row_beats - 1 if at % row_beats == 0 else -1)
        else:
            self._hold(operation, t, at // row_beats - 1)
