"""What the four queues' executors have in common: they take instructions and run ahead in time."""

from typing import Generic, Protocol, TypeVar

from perf_model.operations import Operation
from perf_model.timeline import NEVER, Awaited, Credits, InstructionQueue, Unit

__all__ = ["Executor", "Fetcher"]

Op = TypeVar("Op", bound=Operation)


class Fetcher(Unit, Protocol):
    """Whoever dispatches instructions."""

    halted: int
    """The cycle from which GATE or HALT has been reached."""


class Executor(Generic[Op]):
    """Executes one queue, in a time of its own; a subclass says what a cycle does."""

    queue: InstructionQueue
    fetch: Fetcher

    def __init__(self) -> None:
        self.time = 1
        self.operations: list[Op] = []
        """As they are dispatched."""
        self.starts: dict[int, int] = {}
        self.waiting: list[Awaited] = []
        """What it waits for while nothing moves; no port is used before."""

    def run(self) -> bool:
        """Go on until something is not known yet; whether there was any progress."""
        began = self.time
        while self.time < NEVER and self._cycle():
            pass
        return self.time != began

    def _cycle(self) -> bool:
        """Go through one cycle, or some in which nothing changes; False if that is not known."""
        raise NotImplementedError

    def head(self, t: int) -> tuple[Op | None, list[Credits]] | None:
        """The instruction at the head of the queue in cycle t, and the credits it lacks.

        None if that is not known yet.
        """
        lacking: list[Credits] = []
        due = self.queue.head()
        if due is None:
            return None if self.fetch.time < t else (None, lacking)
        if due > t:
            return None, lacking
        operation = self.operations[len(self.queue.takes)]
        for credits in operation.wait:
            ready = credits.ready(t)
            if ready is None:
                return None
            if not ready:
                lacking.append(credits)
        return operation, lacking

    def take(self, t: int, operation: Op) -> None:
        """The head leaves its queue, with its credits."""
        self.queue.takes.append(t)
        self.starts[operation.pc] = t
        for credits in operation.wait:
            credits.taken += 1
