"""The instruction queue against a list: order, credits, back-pressure, what it says it holds."""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring

from rtl_gen.interfaces import ISSUED
from rtl_gen.sequencer.instruction_queue import InstructionQueue
from sim.bench import parameters, seeded, start
from sim.streams import check, pack, read, unpack, width_of, write
from sim.units.renamed import Renamed
from spec.isa import HEADER
from spec.semaphores import SEMAPHORE_COUNT

PARAMETERS = [{"depth": 2}, {"depth": 8}]
_LATENCY = 2
"""Cycles from the transfer into an empty queue to the head."""


def component(*, depth: int) -> wiring.Component:
    """The component under test; `wait` is a word of Verilog."""
    return Renamed(InstructionQueue(depth=depth), {"wait": "wanted"})


def _instruction(rng: random.Random) -> dict[str, int]:
    """Random bits all over, often with few or no semaphores to wait for."""
    wait = rng.choice((0, 1 << rng.randrange(16), rng.getrandbits(16)))
    word = rng.getrandbits(256) & ~((1 << HEADER.size) - 1)
    return {"pc": rng.getrandbits(16), "word": word | pack(HEADER, {"wait": wait, "opcode": 4})}


class _Bench:
    """Drives a cycle, checks all outputs in it against a list of held instructions."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.index, self.now = dut, 0, 0
        self.depth = parameters()["depth"]
        self.held: list[tuple[int, dict[str, int]]] = []
        self.taken_in, self.taken_out = 0, 0

    async def step(
        self, offered: dict[str, int] | None, ready: int, credits: int
    ) -> tuple[bool, bool]:
        """One cycle; `credits` is the mask of semaphores there. Returns (taken in, issued)."""
        from cocotb.triggers import FallingEdge, ReadOnly

        dut = self.dut
        dut.dispatched__valid.value = int(offered is not None)
        write(dut, "dispatched__payload", ISSUED, offered or {})
        dut.issued__ready.value = ready
        head = bool(self.held) and self.held[0][0] <= self.now
        wait = (
            unpack(HEADER, self.held[0][1]["word"] & (1 << HEADER.size) - 1)["wait"] if head else 0
        )
        available = int(not wait & ~credits)
        dut.available.value = available
        await ReadOnly()
        check("instruction_queue.wait", int(dut.wanted.value), wait, index=self.index)
        issued = bool(head and available and ready)
        got = {
            "head": int(dut.head.value),
            "empty": int(dut.empty.value),
            "valid": int(dut.issued__valid.value),
            "take": int(dut.take.value),
        }
        expected = {
            "head": int(head),
            "empty": int(not self.held),
            "valid": int(head and available),
            "take": int(issued),
        }
        check("instruction_queue", got, expected, index=self.index)
        if head:
            payload = read(dut, "issued__payload", ISSUED)
            check("instruction_queue.issued", payload, self.held[0][1], index=self.index)
        free = int(dut.dispatched__ready.value)
        if len(self.held) == self.depth:
            check("instruction_queue.full", free, 0, index=self.index)
        if len(self.held) < self.depth - 1:
            check("instruction_queue.free", free, 1, index=self.index)
        await FallingEdge(dut.clk)
        self.now += 1
        self.index += 1
        if issued:
            self.held.pop(0)
            self.taken_out += 1
            if self.held:  # the next one is at the head one cycle later at the earliest
                when, item = self.held[0]
                self.held[0] = (max(when, self.now), item)
        entered = bool(offered is not None and free)
        if entered:
            self.held.append((self.now + _LATENCY - 1, offered))
            self.taken_in += 1
        return entered, issued


async def _run(dut: Any, seed: int, count: int, offers: float, takes: float, there: float) -> int:
    """Pass `count` instructions; returns the cycles used."""
    assert width_of(HEADER["wait"].shape) == SEMAPHORE_COUNT
    await start(dut)
    bench = _Bench(dut)
    rng = random.Random(seeded(seed))
    offered = None
    while bench.taken_out < count:
        if offered is None and bench.taken_in < count and rng.random() < offers:
            offered = _instruction(rng)
        credits = sum((rng.random() < there) << i for i in range(SEMAPHORE_COUNT))
        credits = rng.choice((credits, 0xFFFF))
        ready = int(rng.random() < takes)
        entered, _ = await bench.step(offered, ready, 0xFFFF if there == 1.0 else credits)
        if entered:
            offered = None
        assert bench.now < 100 * count, "watchdog"
    return bench.now


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """One instruction a cycle from a depth of 3 on; with one place in memory, every other cycle."""
    limit = 120 + _LATENCY if parameters()["depth"] > 2 else 240 + _LATENCY
    check("instruction_queue.pace", await _run(dut, 1, 120, 1.0, 1.0, 1.0) <= limit, True)


@cocotb.test()
async def slow_executor(dut: Any) -> None:
    """The queue fills up."""
    await _run(dut, 2, 120, 0.9, 0.2, 0.9)


@cocotb.test()
async def slow_dispatcher(dut: Any) -> None:
    """The queue runs empty."""
    await _run(dut, 3, 120, 0.2, 0.9, 0.9)


@cocotb.test()
async def slow_credits(dut: Any) -> None:
    """The executor is ready, credits are not there."""
    await _run(dut, 4, 120, 0.8, 0.9, 0.3)


@cocotb.test()
async def full_queue(dut: Any) -> None:
    """Exactly `depth` go in while nothing leaves; the head issues when its last credit comes."""
    await start(dut)
    bench = _Bench(dut)
    rng = random.Random(seeded(5))
    depth = parameters()["depth"]
    word = {"wait": 0b1000_0000_0000_0110, "opcode": 1}
    items = [{"pc": pc, "word": pack(HEADER, word)} for pc in range(depth + 3)]
    for _ in range(3 * depth):
        await bench.step(items[bench.taken_in], rng.randrange(2), 0x7FFF)
    check("instruction_queue.held", (bench.taken_in, bench.taken_out), (depth, 0))
    for credits in (0x0000, 0x0006, 0x8000, 0x8004, 0x8002):
        await bench.step(items[depth], 1, credits)
    await bench.step(items[depth], 0, 0x8006)
    check("instruction_queue.not_taken", bench.taken_out, 0)
    await bench.step(None, 1, 0x8006)
    check("instruction_queue.taken", bench.taken_out, 1)
    while bench.taken_out < depth:
        await bench.step(None, 1, 0xFFFF)
    await bench.step(None, 1, 0xFFFF)
