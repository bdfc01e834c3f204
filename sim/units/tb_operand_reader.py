"""The operand reader against a model that counts rows, credits and buffered words every cycle."""

import random
from collections import deque
from typing import Any

import cocotb
from amaranth.lib import wiring
from cocotb.triggers import ReadOnly

from rtl_gen.interfaces import ADDRESS_BITS
from rtl_gen.sequencer.operand_reader import OPERAND_COMMAND, OperandReader, operand_layout
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check, read, write

PARAMETERS = [{"lanes": 8, "depth": 4}, {"lanes": 4, "depth": 2}]


def component(*, lanes: int, depth: int) -> wiring.Component:
    """The component under test."""
    return OperandReader(lanes=lanes, depth=depth)


def _command(
    address: int, stride: int, words: int, rows: int, semaphore: int | None = None
) -> dict[str, Any]:
    wait = {"index": semaphore or 0, "valid": int(semaphore is not None)}
    return {
        "address": address,
        "stride": stride,
        "words": words,
        "rows": rows,
        "token_wait": wait,
    }


class _Bench:
    """Drives every port of the unit and compares every output, cycle by cycle."""

    def __init__(self, dut: Any, seed: int, *, grant: float, credit: float, take: float) -> None:
        self.dut, self.seed = dut, seed
        self.grant, self.credit, self.take = grant, credit, take
        self.random = random.Random(f"operand_reader/{seeded(seed)}")
        self.lanes, self.depth = parameters()["lanes"], parameters()["depth"]
        self.memory: dict[int, int] = {}
        self.todo: deque[dict[str, Any]] = deque()
        """reads not granted yet; the first of a row that waits names its semaphore"""
        self.buffer: deque[dict[str, int]] = deque()
        self.in_flight: dict[str, int] | None = None
        self.cycle = 0
        self.denied = self.full = 0

    def _begin(self, command: dict[str, Any]) -> None:
        """Queue the reads a command stands for."""
        wait = command["token_wait"]
        for row in range(command["rows"]):
            for word in range(command["words"]):
                address = command["address"] + row * command["stride"] + word
                self.todo.append(
                    {
                        "address": address % (1 << ADDRESS_BITS),
                        "last": int(word == command["words"] - 1),
                        "semaphore": wait["index"] if wait["valid"] and word == 0 else None,
                    }
                )

    def _same(self, name: str, got: Any, expected: Any) -> None:
        check(f"operand_reader.{name}", got, expected, seed=self.seed, index=self.cycle)

    async def step(self, command: dict[str, Any] | None = None) -> bool:
        """One cycle, in which `command` is started; returns whether a word was taken."""
        dut, rng = self.dut, self.random
        dut.start.value = int(command is not None)
        noise = _command(rng.randrange(1 << 16), 3, rng.randrange(200), 5, rng.choice((None, 7)))
        write(dut, "command", OPERAND_COMMAND, command or noise)
        grant, credit, take = (int(rng.random() < p) for p in (self.grant, self.credit, self.take))
        dut.read__request__ready.value = grant
        dut.take_token__ready.value = credit
        dut.words__ready.value = take
        came = self.in_flight
        dut.read__valid.value = int(came is not None)
        dut.read__data.value = came["data"] if came else rng.getrandbits(self.lanes * 8)
        await ReadOnly()

        head = self.todo[0] if self.todo else None
        waiting = head is not None and head["semaphore"] is not None
        room = len(self.buffer) + (came is not None) < self.depth
        asks = head is not None and not waiting and room
        self.full += head is not None and not waiting and not room
        self.denied += asks and not grant
        self._same("active", read(dut, "active", 1), int(head is not None))
        self._same("take_token.valid", read(dut, "take_token__valid", 1), int(waiting))
        self._same("request.valid", read(dut, "read__request__valid", 1), int(asks))
        self._same("denied", read(dut, "denied", 1), int(asks and not grant))
        self._same("words.valid", read(dut, "words__valid", 1), int(bool(self.buffer)))
        if head and waiting:
            self._same("take_token", read(dut, "take_token__payload", 4), head["semaphore"])
        if head and asks:
            address = read(dut, "read__request__payload", ADDRESS_BITS)
            self._same("address", address, head["address"])
        if self.buffer:
            word = read(dut, "words__payload", operand_layout(self.lanes))
            self._same("words", word, self.buffer[0])

        taken = bool(take and self.buffer)
        if taken:
            self.buffer.popleft()
        if came is not None:
            self.buffer.append(came)
        self.in_flight = None
        if head and waiting and credit:
            head["semaphore"] = None
        if head and asks and grant:
            self.todo.popleft()
            address = head["address"]
            data = self.memory.setdefault(address, rng.getrandbits(self.lanes * 8))
            self.in_flight = {"data": data, "last": head["last"]}
        if command is not None:
            self._begin(command)
        self.cycle += 1
        await cycles(dut)
        return taken

    async def run(self, commands: list[dict[str, Any]], pause: float = 0.0) -> None:
        """Start each command as soon as the unit is free, often before its words are taken."""
        for command in commands:
            while self.todo or self.random.random() < pause:
                await self.step()
            await self.step(command)
        await self.drain()

    async def drain(self) -> None:
        """Run until every word has been taken."""
        while self.todo or self.buffer or self.in_flight:
            await self.step()
            assert self.cycle < 20_000, "operand_reader: the words do not end"
        for _ in range(3):
            await self.step()


def _commands(rng: random.Random, count: int) -> list[dict[str, Any]]:
    corners = [
        _command(0, 0, 1, 1),
        _command(0xFFFF, 255, 1, 6, 15),
        _command(0xFFFF, 255, 5, 3),
        _command(100, 0, 3, 3, 0),
        _command(100, 1, 4, 3),
        _command(7, 1, 1, 40),
    ]
    for _ in range(count):
        words, rows = rng.randint(1, 9), rng.randint(1, 6)
        semaphore = rng.choice((None, rng.randrange(16)))
        corners.append(_command(rng.randrange(1 << 16), rng.randrange(256), words, rows, semaphore))
    rng.shuffle(corners)
    return corners


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """Three cycles to the first word, then one word a cycle, also across rows."""
    await start(dut)
    bench = _Bench(dut, 1, grant=1.0, credit=1.0, take=1.0)
    for _ in range(3):
        await bench.step(_command(1000, 5, 5, 4))
        taken = [await bench.step() for _ in range(24)]
        check("operand_reader.latency", taken.index(True), 2, seed=1)
        if bench.depth >= 4:
            check("operand_reader.rate", taken, [False] * 2 + [True] * 20 + [False] * 2, seed=1)
        await bench.drain()
    await bench.run(_commands(bench.random, 5))


@cocotb.test()
async def port_lost(dut: Any) -> None:
    """The port goes to somebody else most of the time."""
    await start(dut)
    bench = _Bench(dut, 2, grant=0.3, credit=0.7, take=0.9)
    await bench.run(_commands(bench.random, 10), pause=0.2)
    assert bench.denied, "no request was denied"


@cocotb.test()
async def slow_credits(dut: Any) -> None:
    """Credits come late: no word of a row is read before its own."""
    await start(dut)
    bench = _Bench(dut, 3, grant=0.8, credit=0.1, take=0.8)
    await bench.run(_commands(bench.random, 8))


@cocotb.test()
async def slow_taker(dut: Any) -> None:
    """The array hardly takes words: the buffer fills and is never overrun."""
    await start(dut)
    bench = _Bench(dut, 4, grant=0.9, credit=0.6, take=0.25)
    await bench.run(_commands(bench.random, 8), pause=0.1)
    assert bench.full, "the buffer was never full"
