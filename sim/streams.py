"""Drivers of Amaranth stream ports in cocotb: `Source` feeds an input, `Sink` drains an output.

Port names are those of Amaranth's Verilog: members joined by two underscores, also through arrays
(`read__0__request__payload`); a port of any layout is one flat bit vector. Both drivers act at the
falling edge, and sample when everything has settled, so each transfer is seen as the rising edge
that follows will see it, in both simulators.
"""

import enum
import random
from collections import deque
from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import data

from sim.bench import seeded

__all__ = ["Sink", "Source", "check", "check_all", "pack", "read", "unpack", "width_of", "write"]


def width_of(shape: Any) -> int:
    """Bits of a shape or layout."""
    return Shape.cast(shape).width


def pack(shape: Any, value: Any) -> int:
    """Bits of a value: dictionaries for structs, sequences for arrays, members for enums.

    Members of a struct that the dictionary leaves out are 0; numpy values are welcome. Raises
    `ValueError` when a number does not fit: stimulus is never wrapped silently.
    """
    if isinstance(shape, data.Layout):
        fields = value.items() if isinstance(value, dict) else enumerate(value)
        bits = 0
        for key, item in fields:
            field = shape[key if isinstance(key, str) else int(key)]
            bits |= pack(field.shape, item) << field.offset
        return bits
    if isinstance(value, enum.Enum):
        value = value.value
    number, cast = int(value), Shape.cast(shape)
    low = -(1 << cast.width - 1) if cast.signed and cast.width else 0
    high = (1 << cast.width - cast.signed) - 1 if cast.width else 0
    if not low <= number <= high:
        raise ValueError(f"{number} does not fit {cast!r}")
    return number & ((1 << cast.width) - 1)


def unpack(shape: Any, bits: int) -> Any:
    """The reverse of `pack`, with plain dictionaries, lists, enum members and integers."""
    if isinstance(shape, data.Layout):
        items = {
            key: unpack(field.shape, bits >> field.offset & (1 << field.width) - 1)
            for key, field in shape
        }
        return list(items.values()) if isinstance(shape, data.ArrayLayout) else items
    cast = Shape.cast(shape)
    bits &= (1 << cast.width) - 1
    if cast.signed and cast.width and bits >> cast.width - 1:
        bits -= 1 << cast.width
    if isinstance(shape, type) and issubclass(shape, enum.Enum):
        try:
            return shape(bits)
        except ValueError:
            return bits
    return bits


def write(dut: Any, name: str, shape: Any, value: Any) -> None:
    """Drive a plain port (not a stream) of any shape or layout."""
    bits = pack(shape, value)
    if width_of(shape):
        getattr(dut, name).value = bits


def read(dut: Any, name: str, shape: Any) -> Any:
    """Value of a plain port of any shape or layout; an X bit raises `AssertionError`."""
    return unpack(shape, _bits(dut, name)) if width_of(shape) else unpack(shape, 0)


def _bits(dut: Any, name: str) -> int:
    value = getattr(dut, name).value
    try:
        return int(value)
    except ValueError:
        raise AssertionError(f"{name} is undefined: {value}") from None


class _Driver:
    """What both drivers share: names, stalls, their own random state."""

    def __init__(self, dut: Any, name: str, shape: Any, *, seed: int, stall: float) -> None:
        import cocotb

        self.dut, self.name, self.shape = dut, name, shape
        self.stall = stall
        self.random = random.Random(f"{name}/{seeded(seed)}")
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready", None)
        self.payload = getattr(dut, f"{name}__payload") if width_of(shape) else None
        self.transfers = 0
        self._idle()
        self.task = cocotb.start_soon(self._run())

    def _idle(self) -> None:
        raise NotImplementedError

    async def _run(self) -> None:
        raise NotImplementedError

    def _stalled(self) -> bool:
        return self.stall > 0 and self.random.random() < self.stall

    def _taken(self) -> bool:
        """Whether the next rising edge transfers; `always_ready` streams have no ready port."""
        valid = _bits(self.dut, f"{self.name}__valid")
        return bool(valid and (self.ready is None or _bits(self.dut, f"{self.name}__ready")))


class Source(_Driver):
    """Feeds the stream input `name` of `dut` from a queue, in order.

    stall : chance that an item waits a cycle before its `valid` rises (a driver may change it
    while it runs); once risen, `valid` stays until the transfer, as streams demand.
    Make it after `sim.bench.start`. Members: `transfers`, items taken so far.
    """

    def __init__(
        self, dut: Any, name: str, shape: Any, *, seed: int = 0, stall: float = 0.0
    ) -> None:
        self.queue: deque[int] = deque()
        super().__init__(dut, name, shape, seed=seed, stall=stall)

    def _idle(self) -> None:
        self.valid.value = 0

    def put(self, *items: Any) -> None:
        """Queue items; returns at once."""
        self.queue.extend(pack(self.shape, item) for item in items)

    async def send(self, items: Iterable[Any]) -> None:
        """Queue items and wait until all that is queued has been taken."""
        self.put(*items)
        await self.drained()

    async def drained(self) -> None:
        """Wait until the queue is empty and the last item taken."""
        from sim.bench import cycles

        while self.queue:
            await cycles(self.dut)

    async def _run(self) -> None:
        from cocotb.triggers import FallingEdge, ReadOnly

        offered = False
        while True:
            if not offered and self.queue and not self._stalled():
                offered = True
                self.valid.value = 1
                if self.payload is not None:
                    self.payload.value = self.queue[0]
            await ReadOnly()
            taken = offered and self._taken()
            await FallingEdge(self.dut.clk)
            if taken:
                self.queue.popleft()
                self.transfers += 1
                offered = False
                self.valid.value = 0


class Sink(_Driver):
    """Drains the stream output `name` of `dut` into `received`, in order, unpacked.

    stall : chance that a cycle is not ready. Fails the test when `valid` falls or the payload
    changes before its transfer (`check=False` leaves that out).
    Make it after `sim.bench.start`. Members: `received`, `transfers`.
    """

    def __init__(
        self,
        dut: Any,
        name: str,
        shape: Any,
        *,
        seed: int = 0,
        stall: float = 0.0,
        check: bool = True,
    ) -> None:
        self.received: deque[Any] = deque()
        self.check = check
        super().__init__(dut, name, shape, seed=seed, stall=stall)

    def _idle(self) -> None:
        if self.ready is not None:
            self.ready.value = 0

    async def receive(self, count: int, watchdog_cycles: int = 100_000) -> list[Any]:
        """Wait for `count` items and take them out of `received`."""
        from sim.bench import cycles

        waited = 0
        while len(self.received) < count:
            await cycles(self.dut)
            waited += 1
            if waited > watchdog_cycles:
                raise AssertionError(
                    f"{self.name}: {len(self.received)} of {count} items after {waited} cycles"
                )
        return [self.received.popleft() for _ in range(count)]

    async def _run(self) -> None:
        from cocotb.triggers import FallingEdge, ReadOnly

        pending: int | None = None
        while True:
            if self.ready is not None:
                self.ready.value = int(not self._stalled())
            await ReadOnly()
            valid = _bits(self.dut, f"{self.name}__valid")
            bits = 0
            if valid and self.payload is not None:
                bits = _bits(self.dut, f"{self.name}__payload")
            if self.check and pending is not None and (not valid or bits != pending):
                raise AssertionError(
                    f"{self.name}: changed before its transfer: valid {valid}, "
                    f"payload {bits:#x}, was {pending:#x}"
                )
            taken = self._taken()
            pending = bits if valid and not taken else None
            await FallingEdge(self.dut.clk)
            if taken:
                self.received.append(unpack(self.shape, bits))
                self.transfers += 1


def _plain(value: Any) -> Any:
    """Numpy values as Python ones, so that they compare and print."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def check(
    unit: str, got: Any, expected: Any, *, seed: int = 0, index: int = 0, of: Any = ""
) -> None:
    """Raise `AssertionError` unless equal, naming unit, parameters, seed, index, operands `of`."""
    got, expected = _plain(got), _plain(expected)
    if got != expected:
        from sim.bench import parameters

        raise AssertionError(
            f"{unit} {parameters()} seed {seed} index {index}{f' of {of}' if of != '' else ''}: "
            f"got {got}, expected {expected}"
        )


def check_all(unit: str, got: Iterable[Any], expected: Iterable[Any], *, seed: int = 0) -> None:
    """`check` item by item; the lengths must agree too."""
    got, expected = list(_plain(list(got))), list(_plain(list(expected)))
    for index, (left, right) in enumerate(zip(got, expected, strict=False)):
        check(unit, left, right, seed=seed, index=index)
    check(f"{unit} (items)", len(got), len(expected), seed=seed)
