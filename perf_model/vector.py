"""The vector queue's executor in time: LIVE, SELECT, and LayerNorm as in `rtl_gen.postproc`."""

from collections import deque

from perf_model.array import Array
from perf_model.executor import Executor
from perf_model.operations import NormOperation
from perf_model.timeline import NEVER, Credits, Port, port_busy
from rtl_gen.postproc.layer_norm import ROWS_IN_FLIGHT
from rtl_gen.postproc.norm_sums import NormSums
from rtl_gen.postproc.normalize import Normalize
from rtl_gen.postproc.row_statistics import RowStatistics
from rtl_gen.primitives.isqrt import Isqrt
from rtl_gen.primitives.reciprocal import Reciprocal
from spec.config import Config

__all__ = ["Vector"]

OFFER = RowStatistics.LATENCY - Isqrt.latency() - Reciprocal.latency()
"""Cycles from a row's sums to the square root."""
IDLE, CHECK, RUN, SELECT = range(4)


class _Reader:
    """`rtl_gen.postproc.row_reader`: words asked for, words in its queue, words handed out."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks
        self.room = {1: 4, 2: 3}.get(chunks, 2)
        self.left = self.level = self.chunk = self.word = 0

    def state(self) -> tuple[int, ...]:
        return (self.room, self.left, self.level, self.chunk, self.word)


class Vector(Executor[NormOperation]):
    """Runs as far as what it waits for, and the ports it shares with the array, are known."""

    def __init__(self, config: Config, array: Array) -> None:
        super().__init__()
        self.array = array
        self.reads, self.writes = Port(), Port()
        self.program: list[NormOperation] = []
        """All there will be."""
        self.ends: dict[int, int] = {}
        self.mode = IDLE
        self.operation: NormOperation | None = None
        width = min(config.norm_lanes, config.lanes // 2)
        self.first = _Reader(config.lanes // 2 // width)
        self.second = _Reader(config.lanes // 2 // width)
        self.chunks = config.lanes // width
        self.first_left = self.write_left = 0
        self.in_flight = 0
        self.credit = False
        self.sums: deque[int] = deque()
        """Cycles in which the statistics of the rows in work will be there."""
        self.statistics_free = self.root_free = 0
        self.waiting_rows = 0
        self.requested = 0
        """The shared port's register: 1 by the first reader, 2 by the second."""
        self.answered = 0
        self.pipe = 0
        self.pipe_done = 1 << (Normalize.LATENCY - 1)
        self.pipe_mask = 2 * self.pipe_done - 1
        self.chunk = self.block = 0
        self.write_valid = False
        self.give_time = -1

    def state(self) -> tuple:
        """Everything but how many rows are left and when statistics will be there."""
        return (
            self.mode,
            self.first.state(),
            self.second.state(),
            self.first_left,
            self.write_left,
            self.in_flight,
            self.credit,
            len(self.sums),
            self.waiting_rows,
            self.requested,
            self.answered,
            self.pipe,
            self.chunk,
            self.block,
            self.write_valid,
        )

    def idle_from(self) -> int:
        """The first cycle without anything to do, once nothing is left."""
        return self.give_time + 1

    def takes(self) -> bool:
        """Whether an instruction could be taken: while one is in work, only LIVE."""
        if self.mode == IDLE:
            return True
        number = len(self.queue.takes)
        return number < len(self.program) and self.program[number].immediate

    def _cycle(self) -> bool:
        t = self.time
        if self.mode == SELECT:
            self._select(t)
            return True
        granted = writes = True
        if self.requested:
            busy = port_busy(self.array, self.array.reads, t, self)
            if busy is None:
                return False
            granted = not busy
        if self.write_valid:
            busy = port_busy(self.array, self.array.token_writes, t, self)
            if busy is None:
                return False
            writes = not busy
        head: NormOperation | None = None
        lacking: list[Credits] = []
        takes = self.takes()
        if takes:
            found = self.head(t)
            if found is None:
                return False
            head, lacking = found
        running = self.mode == RUN
        wanted = running and self.first_left and self.in_flight != ROWS_IN_FLIGHT
        operation = self.operation
        token_taken = False
        if wanted and operation.token_wait and not self.credit:
            token_taken = operation.token_wait.ready(t)
            if token_taken is None:
                return False
            if not token_taken:
                lacking.append(operation.token_wait)
        active = self.requested or self.write_valid or self.pipe or self.answered
        before = None if active else self.state()
        self._move(t, granted, writes, wanted)
        if token_taken:
            operation.token_wait.taken += 1
            self.credit = True
        self.time = t + 1
        accepted = self._take(t, head, lacking)
        if before is not None and not accepted and before == self.state():
            self._jump(t, takes, lacking)
        else:
            self.waiting = []
        return True

    def _take(self, t: int, head: NormOperation | None, lacking: list[Credits]) -> bool:
        """The head of the queue, if it can be taken; and the steps of an instruction's life."""
        mode = self.mode_before
        if mode == CHECK:
            self.mode = RUN
            self.first_left = self.write_left = self.operation.rows
            return True
        if head is None or any(credits in lacking for credits in head.wait):
            return False
        if head.immediate:
            for credits in head.signal:
                credits.gives.append(t)
        elif mode != IDLE or (t <= self.give_time and not (head.blocks and head.rows)):
            return False
        elif head.cycles:
            self.operation, self.mode = head, SELECT
        elif not head.rows:
            for credits in head.signal:
                credits.gives.append(t)
        else:
            self.operation, self.mode = head, CHECK
        self.take(t, head)
        return True

    def _select(self, t: int) -> None:
        """All of a SELECT, from the cycle after it was taken: nobody else uses token memory."""
        operation = self.operation
        end = t + operation.cycles - 2
        self.ends[operation.pc] = self.give_time = end
        for credits in operation.signal:
            credits.gives.append(end)
        self.mode, self.time = IDLE, end + 1

    def _move(self, t: int, granted: bool, writes: bool, wanted: bool) -> None:
        """A cycle of the datapath."""
        self.mode_before = self.mode
        operation, first, second = self.operation, self.first, self.second
        words = 2 * operation.blocks if operation else 0
        free = not self.requested or granted
        # requests
        second_asks = bool(second.left and second.room)
        first_asks = bool(first.left and first.room)
        second_asked = second_asks and free
        first_asked = first_asks and free and not second_asks
        first_starts = wanted and (self.credit or not operation.token_wait)
        first_starts = first_starts and (not first.left or (first_asked and first.left == 1))
        second_starts = self.waiting_rows and (
            not second.left or (second_asked and second.left == 1)
        )
        # what comes out of the queues
        step = not self.write_valid or writes
        first_out = first.level > 0
        second_out = second.level > 0 and step
        first_last = self._hand_out(first, first_out, words)
        second_last = self._hand_out(second, second_out, words)
        # what comes into them, and what is on its way
        if self.answered:
            (first if self.answered == 1 else second).level += 1
        self.answered = self.requested if self.requested and granted else 0
        if self.answered:
            self.reads.cycles.add(t)
        if free:
            self.requested = 2 if second_asks else 1 if first_asks else 0
        for reader, asked, starts in (
            (first, first_asked, first_starts),
            (second, second_asked, second_starts),
        ):
            reader.room -= asked
            reader.left = words if starts else reader.left - asked
        # the first pass
        if first_starts:
            self.credit = False
            self.first_left -= 1
        if first_last:
            taken = max(t + NormSums.LATENCY + 1, self.statistics_free)
            offered = max(taken + OFFER, self.root_free)
            self.statistics_free = offered + 1
            self.root_free = offered + Isqrt.latency()
            self.sums.append(offered + Isqrt.latency() + Reciprocal.latency())
        self.in_flight += bool(first_starts) - second_last
        # the second pass
        self.waiting_rows -= bool(second_starts)
        if self.sums and self.sums[0] == t:
            self.sums.popleft()
            self.waiting_rows += 1
        written = self.write_valid and writes
        if step:
            done = bool(self.pipe & self.pipe_done)
            self.write_valid = done and self.chunk == self.chunks - 1
            if done:
                self.chunk = 0 if self.chunk == self.chunks - 1 else self.chunk + 1
            self.pipe = (self.pipe << 1 | second_out) & self.pipe_mask
        if written:
            self._write(t)

    @staticmethod
    def _hand_out(reader: _Reader, out: bool, words: int) -> bool:
        """A chunk leaves a reader's queue; whether it is its row's last."""
        if not out:
            return False
        if reader.chunk != reader.chunks - 1:
            reader.chunk += 1
            return False
        reader.chunk = 0
        reader.level -= 1
        reader.room += 1
        reader.word += 1
        if reader.word != words:
            return False
        reader.word = 0
        return True

    def _write(self, t: int) -> None:
        """A word of results is written."""
        self.writes.cycles.add(t)
        operation = self.operation
        self.block += 1
        if self.block != operation.blocks:
            return
        self.block = 0
        self.write_left -= 1
        self.give_time = t + 1
        if operation.token_signal:
            operation.token_signal.gives.append(t + 1)
        if not self.write_left:
            self.ends[operation.pc] = t
            self.mode = IDLE
            for credits in operation.signal:
                credits.gives.append(t + 1)

    def _jump(self, t: int, takes: bool, lacking: list[Credits]) -> None:
        """Nothing has changed in cycle t: go to the cycle in which something may."""
        times = [credits.next_change() for credits in lacking]
        due = self.queue.head()
        if self.sums:
            times.append(self.sums[0])
        if not takes:
            pass
        elif due is None:
            times.append(self.fetch.time + 1)
        elif due > t or not lacking:
            times.append(max(due, t + 1))
        if not times:
            raise RuntimeError(f"cycle {t}: LayerNorm stands still and waits for nothing")
        until = min(times)
        nothing_to_take = takes and due is None
        self.waiting = [] if self.sums else lacking or ([self.queue] if nothing_to_take else [])
        self.time = NEVER if until >= NEVER else max(until, t + 1)
