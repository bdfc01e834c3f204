"""Leaps over rows that go exactly as the row before went.

The machine's timing does not depend on data. So when the array is in the same state at the ends of
two rows of an instruction, nothing from outside was waited for in between and nothing will have to
be, then what happened between the two happens again and again, until rows begin to run out.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perf_model.array import Array

__all__ = ["RowSkipper"]


@dataclass
class _Mark:
    """The end of a row: the first cycle behind it, and what had been counted."""

    time: int
    rows_left: int
    busy: int
    stalls: dict[str, int]
    waits: int
    tokens_taken: int
    gives: int


class RowSkipper:
    """Remembers the states at the ends of an instruction's rows."""

    def __init__(self, array: "Array") -> None:
        self.array = array
        self.pc = -1
        self.marks: dict[tuple, _Mark] = {}
        self.takes: list[int] = []
        """Cycles in which the instruction in hand took row credits."""

    def row_end(self) -> None:
        """A row has ended in the cycle before `array.time`: leap if that is possible."""
        array = self.array
        operation, epilogue = array.operation, array.epilogue
        if operation.pc != self.pc:
            self.pc = operation.pc
            self.marks.clear()
            self.takes.clear()
        least = min(array.rows_left, array.operand_rows)
        if epilogue.used != 1 or least < 3:
            return
        signal = operation.token_signal
        state = array.state()
        mark = self.marks.get(state)
        self.marks[state] = new = _Mark(
            array.time,
            array.rows_left,
            array.busy,
            dict(array.stalls),
            array.waits,
            len(self.takes),
            len(signal.gives) if signal else 0,
        )
        if mark is None or mark.waits != new.waits:
            return
        rows = mark.rows_left - new.rows_left
        period = new.time - mark.time
        count = (least - 1) // rows
        wait = operation.token_wait
        if wait:
            takes = self.takes[mark.tokens_taken :]
            if len(takes) != rows:
                return
            count = self._credited(wait.gives, wait.taken, takes, period, count)
        if count < 1:
            return
        self._leap(mark, new, rows, period, count)

    @staticmethod
    def _credited(gives: list[int], taken: int, takes: list[int], period: int, count: int) -> int:
        """How many of `count` periods find their credits there in time, as far as is known."""
        for number in range(count):
            for index, take in enumerate(takes, start=taken + number * len(takes)):
                if index >= len(gives) or gives[index] >= take + (number + 1) * period:
                    return number
        return count

    def _leap(self, mark: _Mark, new: _Mark, rows: int, period: int, count: int) -> None:
        array = self.array
        operation, epilogue = array.operation, array.epilogue
        start = new.time
        skipped = rows * count
        for port in (array.reads, array.token_writes, array.row_writes):
            offsets = port.offsets(mark.time, start)
            port.add_pattern(start, period, count, offsets)
            if port is array.row_writes and offsets:
                first = epilogue.row_banks[mark.time + min(offsets)]
                order = {offset: first + rows + n for n, offset in enumerate(sorted(offsets))}
                epilogue.bank_patterns.append((start, period, rows, order))
        array.time += period * count
        array.busy += (new.busy - mark.busy) * count
        for cause, number in new.stalls.items():
            array.stalls[cause] += (number - mark.stalls[cause]) * count
        if operation.token_wait:
            operation.token_wait.taken += skipped
        if operation.token_signal:
            gives = operation.token_signal.gives
            recent = gives[mark.gives :]
            for number in range(1, count + 1):
                gives.extend([give + number * period for give in recent])
        array.rows_left -= skipped
        array.operand_rows -= skipped
        if operation.attention:
            array.values_left -= skipped
            array.softmax.rows_left -= skipped
        epilogue.skip(skipped)
        epilogue.give_time += period * count
        self.marks.clear()
        self.takes.clear()
