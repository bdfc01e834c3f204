"""Rows that go as a row went before are not walked again.

The timing of dense work does not depend on data. From one end of a row (or start of an
instruction) to the next, the array's cluster goes its way without asking anybody, unless it lacks
a row's credit. So what happens on this way follows from its state alone: it is walked once, kept as
a `_Way`, and gone again in one leap whenever the array is in that state. A way that leads back to
its own state is gone as often as rows and credits allow. Rows of which sieves leave something else
each time are walked.

A state says how many rows are left only as far as that is soon to matter (`_Way` keeps away from
the rest), so instructions of any number of rows share their ways.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perf_model.array_state import restore, snapshot

if TYPE_CHECKING:
    from perf_model.array import Array
    from perf_model.epilogue import ResultCommand

__all__ = ["RowSkipper"]

_FRONT, _BACK = ("row",), ("write_row", "read_row", "sums_row")
"""Row counters of the epilogue, of the commands at its front and at its back."""
_FEW = 4
_FEW_QUERIES = 24
"""Rows that are left: this many are as good as more. Scores run ahead by up to 16 rows."""


@dataclass(kw_only=True)
class _Way:
    """From one state to the next: what changes, and what is used and given on the way."""

    period: int
    busy: int
    stalls: list[tuple[str, int]]
    raw: tuple
    """The state of all units at the end, see `snapshot`."""
    array_rows: tuple[int, int, int, int]
    """rows_left, values_left, operand_rows, rows of softmax: how much they fall."""
    front: int
    back: int
    fire: int
    """Commands by which the epilogue's pointers go on."""
    counters: dict[str, tuple[bool, int]]
    """Row counters: added to, or set to, a value."""
    fires: int
    """How much `fires_left` falls, or (if `fire`) the fires of the new command."""
    reads: frozenset[int]
    token_writes: frozenset[int]
    row_writes: frozenset[int]
    banks: dict[int, tuple[int, int]]
    """Cycle of a row write: command, counted from the back one, and row (of the back one: from the
    row that it is at)."""
    events: list[tuple[int, int, bool]]
    """Cycle of a row's last write, its command, and whether it was the command's last row."""
    takes: list[int]
    loops: bool
    """It ends in the state in which it began."""


@dataclass
class _Mark:
    """Where a way begins, and what had been counted there."""

    key: tuple
    time: int
    busy: int
    stalls: dict[str, int]
    waits: int
    takes: int
    events: int
    array_rows: tuple[int, int, int, int]
    front: int
    back: int
    fire: int
    fires_left: int
    counters: dict[str, int]


class RowSkipper:
    """Knows the ways that have been gone so far."""

    def __init__(self, array: "Array") -> None:
        self.array = array
        self.units = {
            "array": array,
            "epilogue": array.epilogue,
            "softmax": array.softmax,
            "sources": array.sources,
            "queries": array.queries,
        }
        self.ways: dict[tuple, _Way] = {}
        self.kinds: dict[tuple, int] = {}
        """A number for each kind of instruction and of command."""
        self.mark: _Mark | None = None
        self.takes: list[int] = []
        """Cycles in which row credits were taken."""

    def checkpoint(self) -> None:
        """A row has ended, or an instruction has begun, in the cycle before `array.time`."""
        if self.array.next_skips() or not self._alike():
            # what stalls are called depends on the instruction behind this one
            self.mark = None
            return
        if self.mark is not None:
            self._keep(self.mark)
        while self.array.active:
            key = self._key()
            if key is None:
                self.mark = None
                return
            way = self.ways.get(key)
            if way is None:
                break
            count = self._possible(way)
            if not count:
                # its credits are not there in time: walk
                self.mark = None
                return
            self._go(way, count)
        self.mark = self._here(key) if self.array.active else None

    def _alike(self) -> bool:
        """Whether rows may go as others did: no sieve leaves something else of each."""
        array, epilogue = self.array, self.array.epilogue
        sieved = array.active and array.operation.left is not None
        in_work = epilogue.commands[epilogue.back :]
        return not sieved and not any(command.placed for command in in_work)

    # Where the array is -----------------------------------------------------------------------

    def _number(self, kind: tuple) -> int:
        return self.kinds.setdefault(kind, len(self.kinds))

    def _kind(self, command: "ResultCommand") -> int:
        if command.kind < 0:
            command.kind = self._number(
                (
                    command.attention,
                    command.results_per_row,
                    command.halves,
                    command.words_per_half,
                    command.adds,
                    command.accumulates,
                    command.to_rows,
                    command.token_signal is not None,
                )
            )
        return command.kind

    def _key(self) -> tuple | None:
        """The state; None where too much is on its way at once."""
        array, epilogue = self.array, self.array.epilogue
        operation, commands = array.operation, epilogue.commands
        back, front, fire = epilogue.back, epilogue.front, epilogue.fire
        used = len(commands) - back
        if not 1 <= used <= 2:
            return None
        few = _FEW_QUERIES if operation.attention else _FEW
        newest = commands[-1]
        left = (
            epilogue.write_row,
            epilogue.read_row if commands[back].adds else 0,
            epilogue.sums_row if commands[back].accumulates else 0,
        )
        rows = commands[back].rows
        older = ()
        if used == 2:
            older = (self._kind(commands[back]), *(rows - done for done in left))
        else:
            older = tuple(min(rows - done, few) for done in left)
        first = -1
        if front < len(commands):
            first = commands[front].rows - epilogue.row
            if front == len(commands) - 1:
                first = min(first, few)
        fires = -1
        if fire != len(commands) - 1:
            fires = epilogue.fires_left
        return (
            operation.kind if operation.kind >= 0 else self._operation_kind(),
            self._kind(newest),
            used,
            front - back,
            max(fire - back, -1),
            older,
            first,
            fires,
            min(array.rows_left, few),
            min(array.values_left, few),
            min(array.operand_rows, few),
            min(array.softmax.rows_left, few) if array.softmax.active else 0,
            snapshot(self.units),
        )

    def _operation_kind(self) -> int:
        operation = self.array.operation
        operation.kind = self._number(
            (
                operation.attention,
                operation.operand_words,
                operation.steps,
                operation.score_steps,
                operation.head_words,
                operation.key_words,
                operation.collects,
                operation.token_wait is not None,
            )
        )
        return operation.kind

    def _array_rows(self) -> tuple[int, int, int, int]:
        array = self.array
        return array.rows_left, array.values_left, array.operand_rows, array.softmax.rows_left

    def _here(self, key: tuple) -> _Mark:
        array, epilogue = self.array, self.array.epilogue
        return _Mark(
            key,
            array.time,
            array.busy,
            dict(array.stalls),
            array.waits,
            len(self.takes),
            len(epilogue.events),
            self._array_rows(),
            epilogue.front,
            epilogue.back,
            epilogue.fire,
            epilogue.fires_left,
            {name: getattr(epilogue, name) for name in _FRONT + _BACK},
        )

    # A way that was walked --------------------------------------------------------------------

    def _keep(self, mark: _Mark) -> None:
        """Keep the way from `mark` to here, unless something was waited for."""
        array, epilogue = self.array, self.array.epilogue
        self.mark = None
        now = self._here(())
        falls = tuple(a - b for a, b in zip(mark.array_rows, now.array_rows, strict=True))
        few = _FEW_QUERIES if array.attention else _FEW
        if mark.waits != now.waits or max(falls) >= few or now.time - mark.time > 1 << 16:
            return
        start, end = mark.time, now.time
        counters = {}
        for names, moved in ((_FRONT, now.front != mark.front), (_BACK, now.back != mark.back)):
            for name in names:
                value = now.counters[name]
                counters[name] = (moved, value if moved else value - mark.counters[name])
        fires = mark.fires_left - now.fires_left
        if now.fire != mark.fire:
            fires = epilogue.fires_of(epilogue.commands[now.fire]) - now.fires_left
        row_writes = array.row_writes.offsets(start, end)
        banks = {}
        for offset in row_writes:
            command, row = epilogue.row_places[start + offset]
            here = command - mark.back
            banks[offset] = (here, row if here else row - mark.counters["write_row"])
        key = mark.key
        raw = snapshot(self.units)
        loops = raw == key[-1] and (now.front, now.back, now.fire) == (
            mark.front,
            mark.back,
            mark.fire,
        )
        self.ways[key] = _Way(
            period=end - start,
            busy=now.busy - mark.busy,
            stalls=[
                (cause, count - mark.stalls[cause])
                for cause, count in now.stalls.items()
                if count != mark.stalls[cause]
            ],
            raw=raw,
            array_rows=falls,
            front=now.front - mark.front,
            back=now.back - mark.back,
            fire=now.fire - mark.fire,
            counters=counters,
            fires=fires,
            reads=array.reads.offsets(start, end),
            token_writes=array.token_writes.offsets(start, end),
            row_writes=row_writes,
            banks=banks,
            events=[
                (t - start, command - mark.back, done)
                for t, command, done in epilogue.events[mark.events :]
            ],
            takes=[take - start for take in self.takes[mark.takes :]],
            loops=loops and len(epilogue.commands) - now.back == 1,
        )

    # A way that is gone again -----------------------------------------------------------------

    def _possible(self, way: _Way) -> int:
        """How often the way can be gone now: its credits must be there, as far as is known."""
        array = self.array
        count = 1
        if way.loops:
            few = _FEW_QUERIES if array.attention else _FEW
            left = [array.rows_left, array.operand_rows]
            fall = way.array_rows[0]
            if array.attention:
                left += [array.values_left, array.softmax.rows_left]
            newest = array.epilogue.commands[-1]
            if newest.accumulates:
                left.append(newest.rows - array.epilogue.sums_row)
            if fall:
                count = max((min(left) - few) // fall, 1)
        if way.takes:
            wait, start = array.operation.token_wait, array.time
            gives, taken = wait.gives, wait.taken
            for number in range(count):
                for take in way.takes:
                    if taken >= len(gives) or gives[taken] >= start + take:
                        return number
                    taken += 1
                start += way.period
        return count

    def _go(self, way: _Way, count: int) -> None:
        array, epilogue = self.array, self.array.epilogue
        commands, start, period = epilogue.commands, array.time, way.period
        back, write_row = epilogue.back, epilogue.write_row
        for port, offsets in (
            (array.reads, way.reads),
            (array.token_writes, way.token_writes),
            (array.row_writes, way.row_writes),
        ):
            port.add_pattern(start, period, count, offsets)
        if way.banks:
            base = {
                offset: row + (0 if command else write_row)
                for offset, (command, row) in way.banks.items()
            }
            epilogue.add_rows(start, period, way.counters["write_row"][1], base)
        for number in range(count):
            begin = start + number * period
            for offset, index, done in way.events:
                epilogue.row_done(begin + offset, commands[back + index], done)
        if way.takes:
            array.operation.token_wait.taken += count * len(way.takes)
        array.time += count * period
        array.busy += count * way.busy
        for cause, cycles in way.stalls:
            array.stalls[cause] += count * cycles
        rows, values, operands, scored = way.array_rows
        array.rows_left -= count * rows
        array.values_left -= count * values
        array.operand_rows -= count * operands
        array.softmax.rows_left -= count * scored
        epilogue.front += way.front
        epilogue.back += way.back
        epilogue.fire += way.fire
        for name, (absolute, value) in way.counters.items():
            setattr(epilogue, name, value if absolute else getattr(epilogue, name) + count * value)
        if way.fire:
            epilogue.fires_left = epilogue.fires_of(commands[epilogue.fire]) - way.fires
        else:
            epilogue.fires_left -= count * way.fires
        if way.loops:
            return
        restore(self.units, way.raw)
