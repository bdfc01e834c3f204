"""Fetcher, dispatcher and loader in time, with the read channel they share and the DRAM behind it.

Cycle by cycle as `rtl_gen.dma` and the dispatcher go, but from event to event; the beats of a burst
nobody holds up are counted and not walked.
"""

from collections import deque
from collections.abc import Mapping

from perf_model.array import Array
from perf_model.dram import Dram
from perf_model.executor import Executor
from perf_model.load_data import LoadData
from perf_model.operations import LoadOperation, Operation
from perf_model.splitter import Burst, Splitter
from perf_model.timeline import NEVER, InstructionQueue
from perf_model.vector import Vector
from rtl_gen.dma.axi import BURST_BEATS
from spec.config import Config
from spec.isa import INSTRUCTION_BITS, Opcode
from spec.semaphores import Queue

__all__ = ["Bus"]

DRAM_BURSTS = 8
"""Bursts the DRAM of the simulation takes at once."""
ORDER_BURSTS = 16
"""Bursts the read channel has outstanding."""
REQUEST_LINES = 4
FETCH, LOAD = range(2)
EXTENT_CYCLES = 5
"""From an instruction to its checked request, without the cycles for its size."""


class Bus(Executor[LoadOperation]):
    """Runs as far as queues, credits and ports are known.

    instructions : of the whole program, which are read ahead

    It rests behind a GATE, once all loads are done, and goes on from there with the next part.
    """

    def __init__(self, config: Config, dram: Dram, instructions: int) -> None:
        super().__init__()
        self.config, self.dram = config, dram
        self.fetch = self
        self.program: list[Operation] = []
        self.halted = NEVER
        self.targets: list[Executor | None] = []
        """Who executes each instruction; None for GATE and HALT."""
        # fetcher
        self.line_beats = INSTRUCTION_BITS // config.bus_bits or 1
        self.line_words = max(config.bus_bits // INSTRUCTION_BITS, 1)
        self.chunk = min(REQUEST_LINES, max(1, config.queue_depth // 2))
        self.lines = InstructionQueue(config.queue_depth, self, self)
        self.end_lines = -(-instructions // self.line_words)
        """Lines of the program."""
        self.running = self.fetching = True
        """Instructions are dispatched, and asked for: the latter also behind a GATE."""
        self.begin_at = 0
        """The first cycle of the part at hand."""
        self.rests_until = NEVER
        """At rest behind a GATE: the cycle in which the fetcher goes on."""
        self.requested = self.reserved = self.taken = 0
        # loader, request side
        self.request_at = -1
        """The cycle from which the request of the instruction in hand is offered; -1: none."""
        self.request: LoadOperation | None = None
        self.request_free = 0
        self.data: LoadData
        # channel
        self.splitters = (Splitter(), Splitter())
        self.address: Burst | None = None
        self.order = 0
        self.accepted: deque[Burst] = deque()
        self.burst: Burst | None = None
        """Whose beats come, the last one in cycle `burst_end` (if it is counted)."""
        self.burst_end = 0
        self.to_load = self.to_take = 0
        """Beats of a burst that is walked: not on the bus yet, not taken yet."""
        self.pop_at = NEVER
        """Cycle in which the last beat of the burst before is taken."""
        self.beat_there = False
        self.load_at, self.group = NEVER, 0
        """The cycle in which the last of `group` beats gets onto the bus."""
        self.line_index = 0
        self.fetched: list[int] = []
        """Cycles in which the fetcher took beats."""

    def begin(self, t: int, array: Array, vector: Vector) -> None:
        """Get ready for a part of the program that begins in cycle t."""
        self.queue, self.operations = InstructionQueue(self.config.queue_depth, self, self), []
        self.data = LoadData(self.config, array, vector, self)
        self.running, self.halted, self.begin_at = True, NEVER, t
        self.time, self.rests_until = min(self.rests_until, t), NEVER

    def add(self, program: list[Operation], executors: Mapping[Queue, Executor]) -> None:
        """Take the part's program, and who executes the queues it goes to."""
        self.program += program
        self.targets += [None if op.queue is None else executors[op.queue] for op in program]

    def fetched_bytes(self, end: int) -> int:
        """What the fetcher has read in a run that ends at a GATE, in cycle `end`."""
        while self.rests_until <= end:
            self.time = self.rests_until
            self._cycle()
        return self.config.bus_bytes * sum(t <= end for t in self.fetched)

    def _rests(self) -> bool:
        """Whether a GATE has been reached, and all loads are done."""
        done = len(self.data.pops) == len(self.data.loads) and not self.data.held
        if self.running or not self.fetching or self.request is not None or not done:
            return False
        return len(self.queue.pushes) == len(self.queue.takes)

    def idle_from(self) -> int:
        """The first cycle without anything to do for the loader, once nothing is left."""
        takes = self.queue.takes
        return max(self.request_free, self.data.idle_from, takes[-1] + 1 if takes else 0)

    def _cycle(self) -> bool:
        t = self.time
        # What comes from outside
        operation = target = None
        if self.running and t >= self.begin_at:
            due = self.lines.head()
            if due is not None and due <= t:
                operation = self.program[self.taken]
                target = self.targets[self.taken]
                if target is not None:
                    room = target.queue.room(t)
                    if room is None:
                        return False
                    if not room:
                        operation = None
        load = None
        if self.request is None:
            found = self.head(t)
            if found is None:
                return False
            load, lacking = found
            if lacking:
                load = None
        written = self.data.written(t)
        if written is None:
            return False

        # Data
        address_ready = len(self.accepted) + (self.burst is not None) < DRAM_BURSTS
        order_room = self.order < ORDER_BURSTS
        if self.pop_at == t:
            self.order -= 1
            self.pop_at = NEVER
        held = self.data.held
        if written:
            self.data.write(t)
        if self.data.nothing:
            self.data.skip(t, held)
        self._beats(t, held, written)
        # Addresses
        free = (self.address is None or address_ready) and order_room
        if self.address and address_ready:
            self.address.due = t + self.dram.latency
            self.accepted.append(self.address)
            self.address = None
        fetch_splitter, load_splitter = self.splitters
        fetch_free = not fetch_splitter.beats
        load_free = not load_splitter.beats
        if free and (fetch_splitter.beats or load_splitter.beats):
            client = FETCH if fetch_splitter.beats else LOAD
            splitter = self.splitters[client]
            if splitter.fits:
                if client == FETCH:
                    fetch_free = True
                else:
                    load_free = True
            self.address = splitter.burst(client)
            splitter.beats -= self.address.beats
            splitter.index = 0
            self.order += 1
        # Requests
        if self.fetching and self._fetch_wanted() and fetch_free:
            ask = min(self.chunk, self.end_lines - self.requested)
            beat_address = self.requested * self.line_beats
            fetch_splitter.take(beat_address, ask * self.line_beats)
            self.requested += ask
            self.reserved += ask
        if operation is not None:
            self._dispatch(t, operation, target)
        if self.request is not None:
            nothing = not self.request.beats
            if t >= self.request_at and (load_free or nothing) and self.data.room(t):
                beat_address = self.request.offset // self.config.bus_bytes
                if not nothing:
                    load_splitter.take(beat_address, self.request.beats)
                self.data.push(t, self.request)
                self.request = None
                self.request_free = t + 1
        elif load is not None:
            self.take(t, load)
            self.request = load
            extent_cycles = EXTENT_CYCLES - 1 + max(load.size_words.bit_length(), 1)
            self.request_at = t + (extent_cycles if load.beats else 1)
        self.time = self._next(t)
        if self._rests():
            self.rests_until, self.time = self.time, NEVER
        return True

    def _fetch_wanted(self) -> bool:
        """Whether the fetcher asks for lines."""
        return (
            self.requested < self.end_lines
            and self.reserved <= self.config.queue_depth - self.chunk
        )

    def _dispatch(self, t: int, operation: Operation, target: Executor | None) -> None:
        """An instruction leaves the fetcher."""
        if target is None:
            self.running = False
            self.fetching = operation.opcode == Opcode.GATE
            self.halted = t + 1
        else:
            target.queue.pushes.append(t)
            target.operations.append(operation)
        self.taken += 1
        if self.taken % self.line_words == 0:
            self.lines.takes.append(t)
            self.reserved -= 1

    def _beats(self, t: int, held: bool, written: bool) -> None:
        """What the data channel does in cycle t."""
        if self.to_load or self.beat_there:
            self._slow_beat(t, held, written)
        elif self.burst is None and self._burst_comes(t):
            self._start_burst(t)
        if self.burst is not None and not self.to_load and t == self.burst_end:
            self.burst = None
            self.pop_at = t + 1

    def _burst_comes(self, t: int) -> bool:
        """Whether the next burst begins; no beat is taken for a load that only gives credits."""
        if not self.accepted or t < self.accepted[0].due:
            return False
        return self.accepted[0].client == FETCH or not self.data.nothing

    def _start_burst(self, t: int) -> None:
        """The next burst's beats begin; all at once if nothing holds them up."""
        burst = self.burst = self.accepted.popleft()
        nth = self.dram.nth
        if burst.client == LOAD and not self.data.countable():
            self.to_load = self.to_take = burst.beats
            self.burst_end = NEVER
            self._slow_load(t)
            return
        self.burst_end = nth(t, burst.beats)
        if burst.client == LOAD:
            self.data.count(burst.beats, self.burst_end + 1)
            return
        for number in range(1, burst.beats + 1):
            self.fetched.append(nth(t, number))
            self.line_index += 1
            if self.line_index == self.line_beats:
                self.line_index = 0
                self.lines.pushes.append(nth(t, number) + 1)

    def _slow_load(self, t: int) -> None:
        """The DRAM puts beats on the bus, up to the next one that may have to wait there."""
        self.group = min(self.data.beats_to_word_end(), self.to_load)
        self.load_at = self.dram.nth(t, self.group)
        if self.load_at == t:
            self._loaded()

    def _loaded(self) -> None:
        """That beat is on the bus; those before have been taken."""
        self.load_at = NEVER
        self.beat_there = True
        self.data.position += self.group - 1
        self.to_take -= self.group - 1
        self.to_load -= self.group
        if not self.to_load:
            self.burst = None

    def _slow_beat(self, t: int, held: bool, written: bool) -> None:
        """A cycle of a burst that may be held up."""
        if self.load_at < NEVER:
            if self.load_at == t:
                self._loaded()
            return
        taken = self.beat_there and self.data.ready(held, written)
        if taken:
            self.data.take(t)
            self.beat_there = False
            self.to_take -= 1
            if not self.to_take:
                self.order -= 1
        if not self.beat_there:
            if self.to_load:
                self._slow_load(t)
            elif self.burst is None and self._burst_comes(t):
                self._start_burst(t)

    def _next(self, t: int) -> int:
        """The first cycle after t in which something may happen."""
        soon = t + 1
        # data
        if self.beat_there:
            return soon
        # addresses
        free = self.order < ORDER_BURSTS
        if self.address:
            free = len(self.accepted) + (self.burst is not None) < DRAM_BURSTS
            if free:
                return soon
        if free and (self.splitters[FETCH].beats or self.splitters[LOAD].beats):
            return soon
        at = self._next_request(soon)
        if at <= soon:
            return soon
        waits = self.address and not self.splitters[FETCH].beats
        if waits and self.burst is not None and self.pop_at == NEVER:
            self._stream(at)
        if self.data.held:
            at = min(at, self.data.held_from)
        elif self.data.nothing:
            at = min(at, self.data.nothing_time())
        at = min(at, self.load_at)
        if self.burst is not None:
            at = min(at, self.burst_end)
        elif self.accepted:
            at = min(at, self.accepted[0].due)
        if self.pop_at < NEVER:
            at = min(at, self.pop_at if self.pop_at > t else soon)
        return at if at > soon else soon

    def _next_request(self, soon: int) -> int:
        """The first cycle from `soon` on in which something may be dispatched or asked for."""
        at = NEVER
        if self.fetching and self._fetch_wanted() and not self.splitters[FETCH].beats:
            return soon
        if self.running:
            due = self.lines.head()
            if due is not None:
                due = max(due, self.begin_at)
                target = self.targets[self.taken]
                if target is not None and not target.queue.room(soon):
                    due = max(due, target.queue.room_time())
                at = min(at, due)
        if self.request is not None:
            if not self.data.room(soon):
                room = self.data.room_time()
                if room is not None:
                    at = min(at, room)
            elif not self.splitters[LOAD].beats or not self.request.beats:
                at = min(at, self.request_at)
        else:
            due = self.queue.head()
            if due is not None:
                for credits in self.operations[len(self.queue.takes)].wait:
                    if not credits.ready(soon):
                        due = max(due, credits.next_change())
                at = min(at, due)
        return at

    def _stream(self, until: int) -> None:
        """Bursts of one load that follow each other without a gap, before cycle `until`.

        In the cycle after a burst's last beat the next one begins, the DRAM takes another address,
        and the splitter puts the next one on the bus.
        """
        splitter, accepted, data = self.splitters[LOAD], self.accepted, self.data
        latency, nth = self.dram.latency, self.dram.nth
        if self.address.client != LOAD or data.held or data.nothing or not data.countable():
            return
        left = data.operation.beats - data.position
        while splitter.beats > BURST_BEATS and len(accepted) == DRAM_BURSTS - 1:
            turn, burst = self.burst_end + 1, accepted[0]
            beats = burst.beats
            if turn >= until or burst.due > turn or burst.client != LOAD or beats >= left:
                break
            address = self.address
            address.due = turn + latency
            accepted.append(address)
            self.burst = accepted.popleft()
            self.burst_end = nth(turn, beats)
            left -= beats
            count = BURST_BEATS - splitter.index
            self.address = Burst(LOAD, count, False)
            splitter.beats -= count
            splitter.index = 0
        data.position = data.operation.beats - left
