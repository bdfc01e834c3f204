"""What the units of the model exchange, by cycle: credits, queued instructions, use of ports.

The units keep time of their own and run ahead of each other. `time` of a unit is the first cycle
it has not been through: what it gives, takes and uses before that is known. A question about a
later cycle has no answer yet (None); the unit that asks then waits until the other has got there.
Cycle 0 is the first of a run.
"""

from bisect import bisect_right
from typing import Protocol

from spec.semaphores import PRODUCER_OF, Queue, Semaphore

__all__ = [
    "NEVER",
    "Awaited",
    "Credits",
    "InstructionQueue",
    "Port",
    "Unit",
    "cause_of",
    "port_busy",
]

NEVER = 1 << 60


class Awaited(Protocol):
    """What a unit may stand still for: a credit, or an instruction."""

    producer: "Unit"

    def given(self) -> bool:
        """Whether it is known when it comes."""
        ...


class Unit(Protocol):
    """Whoever has a time, and may stand still until it is given what it waits for (all of it)."""

    time: int
    waiting: list[Awaited]


def dormant(unit: Unit, asker: Unit) -> bool:
    """Whether nothing can happen in a unit before `asker`, who asks, gives something.

    It waits for `asker`, or for a unit that does.
    """
    for what in unit.waiting:
        if not what.given() and (what.producer is asker or dormant(what.producer, asker)):
            return True
    return False


class Credits:
    """One semaphore: a give in cycle t can be taken from t + 1 on."""

    __slots__ = ("consumer", "gives", "producer", "semaphore", "taken")

    def __init__(self, semaphore: Semaphore, producer: Unit, consumer: Unit) -> None:
        self.semaphore = semaphore
        self.producer, self.consumer = producer, consumer
        self.gives: list[int] = []
        self.taken = 0

    def ready(self, t: int) -> bool | None:
        """Whether a credit is there in cycle t; None if that is not known yet."""
        if self.taken < len(self.gives):
            return self.gives[self.taken] < t
        if self.producer.time >= t or dormant(self.producer, self.consumer):
            return False
        return None

    def next_change(self) -> int:
        """The earliest cycle in which `ready` can become true, as far as is known."""
        if self.taken < len(self.gives):
            return self.gives[self.taken] + 1
        return NEVER if dormant(self.producer, self.consumer) else self.producer.time + 1

    def given(self) -> bool:
        """Whether the next credit's time is known."""
        return self.taken < len(self.gives)


def cause_of(lacking: list[Credits]) -> str:
    """What the array's stalls are called when it lacks these credits."""
    producers = {PRODUCER_OF[credits.semaphore] for credits in lacking}
    if Queue.LOAD in producers:
        return "load"
    return "vector" if Queue.VECTOR in producers else "dependency"


class InstructionQueue:
    """A buffered FIFO by the cycles of its pushes and takes, as amaranth's `SyncFIFOBuffered`.

    An item is at the head two cycles after its push, or one cycle after the take before it.
    """

    def __init__(self, depth: int, producer: Unit, consumer: Unit) -> None:
        self.depth = depth
        self.producer, self.consumer = producer, consumer
        self.pushes: list[int] = []
        self.takes: list[int] = []
        self.moved = 0
        """Items that have left the inner memory for the output register, in known cycles."""
        self.moves: list[int] = []

    def _head_time(self, number: int) -> int:
        push = self.pushes[number]
        if self.depth == 1:
            return push + 1
        return max(push + 1, self.takes[number - 1] if number else 0) + 1

    def head(self) -> int | None:
        """The cycle from which the next item can be taken; None if it has not been pushed."""
        number = len(self.takes)
        return self._head_time(number) if number < len(self.pushes) else None

    def room(self, t: int) -> bool | None:
        """Whether a push can be made in cycle t; None if that is not known yet."""
        if self.depth == 1:
            count, limit = sum(1 for take in self.takes[-2:] if take >= t), 1
            held = len(self.pushes) - len(self.takes) + count
        else:
            while len(self.moves) < len(self.pushes) and len(self.moves) <= len(self.takes):
                self.moves.append(self._head_time(len(self.moves)) - 1)
            held, limit = len(self.pushes), self.depth - 1
            gone = len(self.moves)
            while gone and self.moves[gone - 1] >= t:
                gone -= 1
            held -= gone
        if held < limit:
            return True
        if self.consumer.time >= t or dormant(self.consumer, self.producer):
            return False
        return None

    def given(self) -> bool:
        """Whether the next instruction has been pushed."""
        return len(self.takes) < len(self.pushes)

    def room_time(self) -> int:
        """A cycle before which there is no room, once there was none; the first with, if known."""
        if self.depth == 1 and len(self.takes) == len(self.pushes):
            return self.takes[-1] + 1
        needed = len(self.pushes) - self.depth + 1
        if self.depth > 1 and needed < len(self.moves):
            return self.moves[needed] + 1
        if self.consumer is self.producer or dormant(self.consumer, self.producer):
            return NEVER
        return self.consumer.time

    def empty(self, t: int) -> bool:
        """Whether nothing is held in cycle t, for a t that both sides have reached."""
        pushed, taken = len(self.pushes), len(self.takes)
        while pushed and self.pushes[pushed - 1] >= t:
            pushed -= 1
        while taken and self.takes[taken - 1] >= t:
            taken -= 1
        return pushed == taken


class Port:
    """The cycles in which a unit uses a memory port; uses may come as repeated patterns."""

    def __init__(self) -> None:
        self.cycles: set[int] = set()
        self._starts: list[int] = []
        self._patterns: list[tuple[int, int, frozenset[int]]] = []

    def add_pattern(self, start: int, period: int, count: int, offsets: frozenset[int]) -> None:
        """Uses at start + n * period + each offset (0 .. period - 1), for n below count."""
        if offsets:
            self._starts.append(start)
            self._patterns.append((start + period * count, period, offsets))

    def offsets(self, start: int, end: int) -> frozenset[int]:
        """Uses in start .. end - 1, counted from start."""
        return frozenset(t - start for t in range(start, end) if t in self.cycles)

    def busy(self, t: int) -> bool:
        """Whether the port is used in cycle t."""
        if t in self.cycles:
            return True
        number = bisect_right(self._starts, t) - 1
        if number < 0:
            return False
        end, period, offsets = self._patterns[number]
        return t < end and (t - self._starts[number]) % period in offsets


def port_busy(owner: Unit, port: Port, t: int, asker: Unit) -> bool | None:
    """Whether `owner` uses its port in cycle t; None if that is not known yet.

    It does not while it waits for what `asker` has not given.
    """
    if owner.time > t:
        return port.busy(t)
    return False if dormant(owner, asker) else None
