"""The query buffer against a list of rows, with foreign lanes zeroed in Python."""

import random
from typing import Any

import cocotb
from amaranth.lib import data, wiring
from cocotb.triggers import ReadOnly

from rtl_gen.sequencer.operand_reader import operand_layout
from rtl_gen.sequencer.query_buffer import QueryBuffer
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check, read, write

PARAMETERS = [
    {"lanes": 8, "max_head_words": 3},
    {"lanes": 8, "max_head_words": 2, "pairs": True},
    {"lanes": 16, "max_head_words": 1},
    {"lanes": 16, "max_head_words": 1, "pairs": True},
]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return QueryBuffer(**parameters)


def _own(word: int, head_dim: int, first_lane: int, lanes: int) -> range:
    """Return the lanes of inner word `word` that belong to the head (`spec.isa.ATTENTION`)."""
    return range(first_lane, first_lane + min(lanes, head_dim - word * lanes))


class _Bench:
    """Drives every port of the unit and compares every output, cycle by cycle."""

    def __init__(self, dut: Any, seed: int, *, give: float, schedule: float, done: float) -> None:
        self.dut, self.seed = dut, seed
        self.give, self.schedule, self.done = give, schedule, done
        self.random = random.Random(f"query_buffer/{seeded(seed)}")
        self.lanes = parameters()["lanes"]
        self.layout = operand_layout(self.lanes)
        self.vector = data.ArrayLayout(8, self.lanes)
        self.cycle = 0
        self.rows: list[list[list[int]]] = []
        """complete rows that are not done, the oldest first"""
        self.pairs = parameters().get("pairs", False)
        self.capacity = 4 if self.pairs else 2
        self.scheduled = 0
        self.passes: list[int] = []
        """scheduled rows, one or two at a time"""
        self.partial: list[list[int]] = []
        self.used = 0
        self.offered: list[int] | None = None
        self.seen: set[tuple[int, int]] = set()

    def _same(self, name: str, got: Any, expected: Any) -> None:
        check(f"query_buffer.{name}", got, expected, seed=self.seed, index=self.cycle)

    async def step(self, head_dim: int, first_lane: int, *, accept: bool, more: bool) -> bool:
        """One cycle; returns whether a row's last word went in.

        more : a word may be offered; once offered it stays until it is taken.
        """
        dut, rng, lanes = self.dut, self.random, self.lanes
        words = -(-head_dim // lanes)
        if self.offered is None and more and rng.random() < self.give:
            self.offered = [
                rng.choice((0, 127, 128, 255, rng.randrange(256))) for _ in range(lanes)
            ]
        last = len(self.partial) == words - 1
        bits = int.from_bytes(bytes(self.offered or [rng.randrange(256)] * lanes), "little")
        dut.words__valid.value = int(self.offered is not None)
        write(dut, "words__payload", self.layout, {"data": bits, "last": int(last)})
        dut.accept.value = int(accept)
        dut.head_dim.value = head_dim
        dut.first_lane.value = first_lane
        waiting = len(self.rows) - self.scheduled
        scheduled = int(waiting > 0 and rng.random() < self.schedule)
        done = bool(self.passes) and rng.random() < self.done
        both = self.pairs and waiting > 1 and rng.random() < 0.6
        in_use = self.passes[0] if self.passes else 1
        if self.pairs:
            dut.schedule_both.value = int(both)
            dut.both.value = in_use - 1
        dut.schedule.value = int(scheduled)
        dut.done.value = int(done)
        word = rng.randrange(len(self.rows[0]) if self.rows else 16)
        dut.word.value = word
        await ReadOnly()

        ready = accept and len(self.rows) < self.capacity
        self._same("ready", read(dut, "words__ready", 1), int(ready))
        self._same("loaded", read(dut, "loaded", 1), int(waiting > 0))
        if self.rows:
            self._same("vector", read(dut, "vector", self.vector), self.rows[0][word])
        if self.pairs:
            self._same("both_loaded", read(dut, "both_loaded", 1), int(waiting > 1))
        if self.pairs and self.passes:
            second = read(dut, "second_vector", self.vector)
            self._same("second_vector", second, self.rows[in_use - 1][word])
        self.seen.add((len(self.rows), self.scheduled))

        complete = False
        if done:
            rows = self.passes.pop(0)
            del self.rows[:rows]
            self.used += rows
            self.scheduled -= rows
        if scheduled:
            self.passes.append(1 + both)
            self.scheduled += 1 + both
        if ready and self.offered is not None:
            own = _own(len(self.partial), head_dim, first_lane, lanes)
            self.partial.append([v if lane in own else 0 for lane, v in enumerate(self.offered)])
            self.offered = None
            if last:
                self.rows.append(self.partial)
                self.partial = []
                complete = True
        self.cycle += 1
        await cycles(dut)
        return complete

    async def run(self, heads: list[tuple[int, int, int]], pause: float = 0.0) -> None:
        """Fill and use `rows` rows for each (head_dim, first_lane, rows)."""
        expected = 0
        for head_dim, first_lane, rows in heads:
            left, expected = rows, expected + rows
            await self.step(head_dim, first_lane, accept=False, more=False)
            while left or self.used < expected:
                accept = self.random.random() >= pause
                more = left > 0
                left -= await self.step(head_dim, first_lane, accept=accept, more=more)
                assert self.cycle < 20_000, "query_buffer: the rows do not end"
        for _ in range(3):
            await self.step(*heads[-1][:2], accept=True, more=False)


def _heads(rng: random.Random, count: int) -> list[tuple[int, int, int]]:
    lanes, words = parameters()["lanes"], parameters()["max_head_words"]
    heads = [(1, 0, 2), (1, lanes - 1, 3), (lanes, 0, 3), (words * lanes, 0, 5)]
    heads += [(lanes // 2, lanes // 2, 4), (lanes // 2 - 1, lanes // 2, 2)]
    heads += [((words - 1) * lanes + 1, 0, 3), (words * lanes - 1, 0, 3)]
    for _ in range(count):
        head_dim = rng.randint(1, words * lanes)
        first_lane = rng.randint(0, lanes - head_dim) if head_dim <= lanes else 0
        heads.append((head_dim, first_lane, rng.randint(1, 7)))
    rng.shuffle(heads)
    return heads


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """Words come every cycle and rows are used as soon as they are there."""
    await start(dut)
    bench = _Bench(dut, 1, give=1.0, schedule=1.0, done=1.0)
    await bench.run(_heads(bench.random, 20))


@cocotb.test()
async def slow_user(dut: Any) -> None:
    """Rows stay in use: two are held in every combination of marks, and no third is taken."""
    await start(dut)
    bench = _Bench(dut, 2, give=0.9, schedule=0.3, done=0.2)
    await bench.run(_heads(bench.random, 15), pause=0.1)
    most = bench.capacity
    held = {(rows, scheduled) for rows in range(most + 1) for scheduled in range(rows + 1)}
    check("query_buffer.seen", bench.seen, held, seed=2)


@cocotb.test()
async def slow_words(dut: Any) -> None:
    """Words come late, and often somebody else's are on the way."""
    await start(dut)
    bench = _Bench(dut, 3, give=0.4, schedule=0.7, done=0.7)
    await bench.run(_heads(bench.random, 20), pause=0.5)
