"""The source of P.V over packed rows against what lies in a ring that the bench plays."""

import random
from typing import Any

import cocotb
from amaranth.lib import data, wiring
from cocotb.triggers import FallingEdge, ReadOnly

from rtl_gen.index_engine.prob_rows import ProbRows
from rtl_gen.interfaces import ADDRESS_BITS, WALK, prob_row_layout, step_layout
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, check, check_all, pack, write
from spec.formats import PROB

PARAMETERS = [
    {"banks": 4, "prob_words": 16, "index_bits": 6, "max_head_words": 2},
    {"banks": 8, "prob_words": 128, "index_bits": 7, "max_head_words": 1},
]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return ProbRows(**parameters)


class _Bench:
    """A ring of random content, and rows of it."""

    def __init__(self, dut: Any, seed: int) -> None:
        self.dut = dut
        self.random = random.Random(f"prob_rows/{seeded(seed)}")
        size = parameters()
        self.banks, self.words = size["banks"], size["prob_words"]
        self.index_bits, self.head_words = size["index_bits"], size["max_head_words"]
        self.row_layout = prob_row_layout(self.words, self.banks)
        self.ring = [
            [
                (self.random.randrange(256), self.random.randrange(1 << self.index_bits))
                for _ in range(self.banks)
            ]
            for _ in range(self.words)
        ]
        cocotb.start_soon(self._ring())

    async def _ring(self) -> None:
        """Answer reads a cycle later, and hold the answer."""
        dut = self.dut
        shown = self.ring[0]
        while True:
            write(dut, "probs", data.ArrayLayout(PROB.bits, self.banks), [p for p, _ in shown])
            indices = data.ArrayLayout(self.index_bits, self.banks)
            write(dut, "index", indices, [index for _, index in shown])
            await ReadOnly()
            if int(dut.enable.value):
                shown = self.ring[int(dut.address.value)]
            await FallingEdge(dut.clk)

    def row(self) -> tuple[dict[str, int], dict[str, Any], list[dict[str, Any]]]:
        """Return a walk, its row, and the steps they stand for."""
        rng = self.random
        length = rng.choice((1, 1, 2, 3, min(9, self.words)))
        counts = [rng.randint(0, length) for _ in range(self.banks)]
        counts[rng.randrange(self.banks)] = length
        row = {"address": rng.randrange(self.words), "words": length, "counts": counts}
        stride = rng.randint(1, self.head_words)
        walk = {
            "base": rng.randrange(1 << 16),
            "count": rng.randrange(1 << 16),
            "stride": stride,
            "words": 1,
            "offset": rng.randrange(stride),
        }
        steps = []
        for at in range(length):
            word = self.ring[(row["address"] + at) % self.words]
            start = walk["base"] + walk["offset"]
            steps.append(
                {
                    "address": [(start + i * stride) % (1 << ADDRESS_BITS) for _, i in word],
                    "valid": sum((at < count) << bank for bank, count in enumerate(counts)),
                    "word": 0,
                    "first": int(at == 0),
                    "last": int(at == length - 1),
                    "group_first": 1,
                    "group_last": 1,
                    "sparse": 1,
                    "code": [prob for prob, _ in word],
                }
            )
        return walk, row, steps

    async def run(self, seed: int, rows: int, late: float, out: float) -> int:
        """Give random rows; return the cycles that are not steps."""
        dut = self.dut
        sink = Sink(dut, "step", step_layout(self.banks, True), seed=seed, stall=out)
        cases = [self.row() for _ in range(rows)]
        expected = [step for _, _, steps in cases for step in steps]
        used, offered = 0, False
        while sink.transfers < len(expected):
            if cases and not offered and self.random.random() >= late:
                offered = True
                dut.walk__payload.value = pack(WALK, cases[0][0])
                dut.row.value = pack(self.row_layout, cases[0][1])
            dut.walk__valid.value = int(offered)
            await ReadOnly()
            taken = offered and int(dut.walk__ready.value)
            await cycles(dut)
            used += 1
            if taken:
                cases.pop(0)
                offered = False
        await cycles(dut, 5)
        got = [{name: step[name] for name in expected[0]} for step in sink.received]
        check_all("prob_rows", got, expected, seed=seed)
        return used - len(expected)


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """One step a cycle, no bubble between rows: only the start costs cycles."""
    await start(dut)
    check("prob_rows.bubbles", await _Bench(dut, 1).run(1, 80, 0.0, 0.0) <= 4, True)


@cocotb.test()
@cocotb.parametrize(stalls=[(0.0, 0.6), (0.7, 0.2)])
async def with_stalls(dut: Any, stalls: tuple[float, float]) -> None:
    """The array stalls, rows come late."""
    await start(dut)
    await _Bench(dut, 2).run(2, 60, *stalls)
