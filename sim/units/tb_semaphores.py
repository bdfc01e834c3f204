"""The semaphores against plain counters, with the takers of the machine's queues."""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring

from rtl_gen.interfaces import GIVE, GIVE_TOKEN
from rtl_gen.sequencer.semaphores import Semaphores
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check, write
from spec.semaphores import CONSUMER_OF, SEMAPHORE_BITS, SEMAPHORE_COUNT, Queue

PARAMETERS = [{"takers": 1, "givers": 2}, {"takers": 2, "givers": 5}]
_TOKEN_QUEUES = (Queue.ARRAY, Queue.VECTOR)
"""The queue of each row-taking executor."""
_ALL = (1 << SEMAPHORE_COUNT) - 1


def component(*, takers: int, givers: int) -> wiring.Component:
    """The component under test."""
    return Semaphores(takers=takers, givers=givers)


def _mine(queue: Queue) -> list[int]:
    """The semaphores that a queue consumes."""
    return [semaphore.value for semaphore, owner in CONSUMER_OF.items() if owner is queue]


class _Bench:
    """Drives all takers and givers of a cycle and checks all outputs against the counts."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.index = dut, 0
        self.counts = [0] * SEMAPHORE_COUNT
        self.overflow = False
        self.givers, self.takers = parameters()["givers"], parameters()["takers"]

    async def step(
        self,
        gives: dict[int, int] | None = None,
        tokens: dict[int, int] | None = None,
        waits: dict[Queue, int] | None = None,
        wants: dict[int, int] | None = None,
        takes: float = 1.0,
        rng: random.Random | None = None,
    ) -> set[int]:
        """One cycle; returns the executors whose row credit was taken.

        gives : masks by giver; tokens : a semaphore by giver; waits : masks by queue
        wants : a semaphore by row-taking executor; takes : chance that an available mask is taken
        Invalid inputs hold all ones, so that a unit that ignores `valid` fails.
        """
        from cocotb.triggers import FallingEdge, ReadOnly

        dut, rng = self.dut, rng or random.Random(0)
        gives, tokens, waits, wants = gives or {}, tokens or {}, waits or {}, wants or {}
        for giver in range(self.givers):
            mask, token = gives.get(giver), tokens.get(giver)
            value = {"valid": int(mask is not None), "mask": _ALL if mask is None else mask}
            write(dut, f"give__{giver}", GIVE, value)
            value = {"valid": int(token is not None), "index": 15 if token is None else token}
            write(dut, f"give_token__{giver}", GIVE_TOKEN, value)
        change = [0] * SEMAPHORE_COUNT
        available: dict[Queue, int] = {}
        for queue in Queue:
            mask = waits.get(queue, 0)
            wanted = [i for i in range(SEMAPHORE_COUNT) if mask >> i & 1]
            available[queue] = int(all(self.counts[i] for i in wanted))
            take = int(available[queue] and rng.random() < takes)
            getattr(dut, f"wait__{queue.value}").value = mask
            getattr(dut, f"take__{queue.value}").value = take
            for i in wanted:
                change[i] -= take
        for taker in range(self.takers):
            getattr(dut, f"take_token__{taker}__valid").value = int(taker in wants)
            getattr(dut, f"take_token__{taker}__payload").value = wants.get(taker, 15)
        await ReadOnly()
        for queue, expected in available.items():
            got = int(getattr(dut, f"available__{queue.value}").value)
            check(f"semaphores.available {queue.name}", got, expected, index=self.index)
        taken = set()
        for taker, want in wants.items():
            got = int(getattr(dut, f"take_token__{taker}__ready").value)
            check("semaphores.ready", got, int(self.counts[want] > 0), index=self.index, of=want)
            if got:
                taken.add(taker)
                change[want] -= 1
        nonzero = sum((count > 0) << i for i, count in enumerate(self.counts))
        check("semaphores.nonzero", int(dut.nonzero.value), nonzero, index=self.index)
        check("semaphores.overflow", int(dut.overflow.value), int(self.overflow), index=self.index)
        for mask in gives.values():
            for i in range(SEMAPHORE_COUNT):
                change[i] += mask >> i & 1
        for token in tokens.values():
            change[token] += 1
        await FallingEdge(dut.clk)
        following = [count + delta for count, delta in zip(self.counts, change, strict=True)]
        self.overflow = any(count >> SEMAPHORE_BITS for count in following)
        self.counts = [count % (1 << SEMAPHORE_BITS) for count in following]
        self.index += 1
        return taken


async def _run(dut: Any, seed: int, given: float, takes: float) -> None:
    """Random masks, rows and gives; a queue's head and its executor want different semaphores."""
    await start(dut)
    bench = _Bench(dut)
    rng = random.Random(seeded(seed))
    wants: dict[int, int] = {}
    waits: dict[Queue, int] = {}
    for _ in range(500):
        for taker, queue in enumerate(_TOKEN_QUEUES[: bench.takers]):
            if taker not in wants and rng.random() < takes:
                wants[taker] = rng.choice(_mine(queue))
        for queue in Queue:
            mask = sum(1 << i for i in _mine(queue) if rng.random() < 0.4)
            for taker, want in wants.items():
                if _TOKEN_QUEUES[taker] is queue:
                    mask &= ~(1 << want)
            waits[queue] = mask
        gives = {
            giver: rng.getrandbits(16) & rng.getrandbits(16)
            for giver in range(bench.givers)
            if rng.random() < given
        }
        tokens = {
            giver: rng.randrange(SEMAPHORE_COUNT)
            for giver in range(bench.givers)
            if rng.random() < given
        }
        for taker in await bench.step(gives, tokens, waits, wants, takes, rng):
            del wants[taker]
    check("semaphores.some", sum(bench.counts) > 0, True)


@cocotb.test()
async def scarce(dut: Any) -> None:
    """Takers wait most of the time."""
    await _run(dut, 1, 0.05, 0.9)


@cocotb.test()
async def plenty(dut: Any) -> None:
    """Credits pile up; several givers and takers of one semaphore in a cycle."""
    await _run(dut, 2, 0.6, 0.5)


@cocotb.test()
async def every_semaphore(dut: Any) -> None:
    """One by one: a row's credit, a mask's, two gives in a cycle, a give beside a take."""
    await start(dut)
    bench = _Bench(dut)
    for index in range(SEMAPHORE_COUNT):
        queue = next((q for q in Queue if index in _mine(q)), Queue.STORE)
        one = {queue: 1 << index}
        for taker in range(bench.takers):
            check("semaphores.none", await bench.step(wants={taker: index}), set())
            await bench.step(tokens={1: index}, wants={taker: index})
            check("semaphores.row", await bench.step(wants={taker: index}), {taker})
        await bench.step(waits=one)
        await bench.step(gives={0: 1 << index}, waits=one)
        await bench.step(gives={1: 1 << index}, waits=one)
        check("semaphores.kept", bench.counts[index], 1)
        await bench.step(gives={0: 1 << index, 1: 1 << index}, tokens={0: index, 1: index})
        for _ in range(5):
            await bench.step(waits=one)
        await bench.step(waits=one)
        check("semaphores.empty", bench.counts, [0] * SEMAPHORE_COUNT)


@cocotb.test()
async def partial_masks(dut: Any) -> None:
    """All but one semaphore of a mask there is not enough, and takes nothing."""
    await start(dut)
    bench = _Bench(dut)
    for queue in Queue:
        mask = sum(1 << i for i in _mine(queue))
        for missing in _mine(queue):
            await bench.step(gives={0: mask & ~(1 << missing)})
            await bench.step(waits={queue: mask})
            await bench.step(tokens={0: missing}, waits={queue: mask})
            await bench.step(waits={queue: mask})
            check("semaphores.all_taken", bench.counts, [0] * SEMAPHORE_COUNT)


@cocotb.test()
async def overflow(dut: Any) -> None:
    """4,095 credits are kept; one more, or two in a cycle, overflow; a take beside it does not."""
    await start(dut)
    bench = _Bench(dut)
    largest = (1 << SEMAPHORE_BITS) - 1
    for giver in range(bench.givers):
        write(dut, f"give__{giver}", GIVE, {"valid": int(giver == 0), "mask": _ALL})
    await cycles(dut, largest)
    bench.counts = [largest] * SEMAPHORE_COUNT
    await bench.step()
    for index in range(SEMAPHORE_COUNT):
        queue = next((q for q in Queue if index in _mine(q)), Queue.STORE)
        await bench.step(gives={1: 1 << index}, waits={queue: 1 << index})
        check("semaphores.full", (bench.counts[index], bench.overflow), (largest, False))
        await bench.step(waits={queue: 1 << index})
        await bench.step(gives={0: 1 << index}, tokens={1: index})
        check("semaphores.overflow", bench.overflow, True)
        await bench.step()
        check("semaphores.pulse", bench.overflow, False)
    await bench.step()
