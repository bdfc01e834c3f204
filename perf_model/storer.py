"""The store queue's executor in time, with the write channel and the DRAM behind it."""

from perf_model.array import Array
from perf_model.bus import DRAM_BURSTS, EXTENT_CYCLES
from perf_model.dram import Dram
from perf_model.executor import Executor
from perf_model.operations import StoreOperation
from perf_model.timeline import NEVER, port_busy
from perf_model.vector import Vector
from rtl_gen.dma.axi import BURST_BEATS
from spec.config import Config

__all__ = ["Storer"]

WRITE_BURSTS = 8
"""Bursts the write channel has outstanding."""
IDLE, REQUEST, STORE = range(3)


class Storer(Executor[StoreOperation]):
    """Runs as far as credits, and the read port it shares with everybody, are known."""

    def __init__(self, config: Config, dram: Dram, array: Array, vector: Vector) -> None:
        super().__init__()
        self.config, self.dram = config, dram
        self.array, self.vector = array, vector
        self.ends: dict[int, int] = {}
        self.idle_from = 0
        self.mode = IDLE
        self.request_at = 0
        self.operation: StoreOperation | None = None
        self.word_beats = config.lanes // config.bus_bytes
        self.depth = 4 if self.word_beats < 4 else 2
        self.to_read = 0
        self.reserved = self.level = self.beat = 0
        self.flying = False
        # write channel
        self.beats = self.index = 0
        """Of the transfer that is being cut into bursts."""
        self.address = 0
        """Beats of the burst whose address waits."""
        self.address_last = False
        self.lengths: list[int] = []
        self.responses: list[bool] = []
        self.sent = 0
        self.data_there = self.data_last = False
        # DRAM
        self.taken: list[int] = []
        """Bursts whose address has been taken: beats still to come."""
        self.due: list[int] = []
        self.answered = False

    def _cycle(self) -> bool:
        t = self.time
        if self.mode == IDLE:
            return self._idle(t)
        # Reads
        wants = self.to_read and self.reserved != self.depth
        granted = False
        if wants:
            for unit in (self.array, self.vector):
                busy = port_busy(unit, unit.reads, t, self)
                if busy is None:
                    return False
                if busy:
                    break
            else:
                granted = True
        dram, bursts = self.dram, self.lengths
        # Responses
        done = False
        if self.answered:
            self.answered = False
            done = self.responses.pop(0)
        in_dram = len(self.taken) + len(self.due)
        responses_room = len(self.responses) + done < WRITE_BURSTS
        if self.due and t >= self.due[0]:
            self.due.pop(0)
            self.answered = True
        # Data
        pace = dram.nth(t, 1) == t
        wready = bool(self.taken) and pace
        room = bool(bursts) and (not self.data_there or wready)
        moved = room and self.level > 0
        popped = False
        if self.data_there and wready:
            self.data_there = False
            self.taken[0] -= 1
            if not self.taken[0]:
                self.taken.pop(0)
                self.due.append(t + dram.latency)
        lengths_room = len(bursts) < WRITE_BURSTS
        if moved:
            self.data_there = True
            self.sent += 1
            if self.sent == bursts[0]:
                self.sent = 0
                bursts.pop(0)
            self.beat += 1
            if self.beat == self.word_beats:
                self.beat, popped = 0, True
        # Addresses
        accepted = self.address and in_dram < DRAM_BURSTS
        free = (not self.address or in_dram < DRAM_BURSTS) and lengths_room and responses_room
        if accepted:
            self.taken.append(self.address)
            self.address = 0
        splitter_free = not self.beats
        if self.beats and free:
            count = min(self.beats, BURST_BEATS - self.index)
            self.address = count
            self.beats -= count
            self.index = 0
            bursts.append(count)
            self.responses.append(self.beats == 0)
            splitter_free = not self.beats
        # Reads move
        self.level += self.flying - popped
        self.flying = granted
        self.reserved += granted - popped
        if granted:
            self.to_read -= 1
        operation = self.operation
        if self.mode == REQUEST and t >= self.request_at and splitter_free:
            self.beats = operation.rows * operation.words * operation.word_beats
            self.index = operation.offset // self.config.bus_bytes % BURST_BEATS
            self.to_read = operation.rows * operation.words
            self.mode = STORE
        elif self.mode == STORE and done:
            self.mode = IDLE
            self.ends[operation.pc] = t
            self.idle_from = t + 1
            for credits in operation.signal:
                credits.gives.append(t)
        self.time = t + 1
        return True

    def _idle(self, t: int) -> bool:
        """Wait for an instruction and its credits."""
        found = self.head(t)
        if found is None:
            return False
        operation, lacking = found
        if operation is None:
            due = self.queue.head()
            until = self.fetch.time + 1 if due is None else due
            self.time = min(until, NEVER)
            return True
        if lacking:
            self.time = max(lacking[0].next_change(), t + 1)
            return True
        self.take(t, operation)
        if not operation.rows:
            # only its credits, a cycle later
            for credits in operation.signal:
                credits.gives.append(t + 1)
            self.time = self.idle_from = t + 2
            return True
        self.operation, self.mode = operation, REQUEST
        self.request_at = t + EXTENT_CYCLES - 1 + max(operation.words.bit_length(), 1)
        self.time = t + 1
        return True
