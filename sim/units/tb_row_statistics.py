"""RowStatistics against its golden function: sums of real rows, the largest and the smallest."""

import random
from itertools import pairwise
from typing import Any

import cocotb
from amaranth.lib import wiring
from cocotb.triggers import FallingEdge, ReadOnly

from golden_model.units.layer_norm import row_statistics
from rtl_gen.postproc.row_statistics import STATISTICS, SUMS, RowStatistics
from sim.bench import seeded, start
from sim.streams import Source, check, read
from spec.formats import NORM, RESIDUAL

PARAMETERS = [{}]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return RowStatistics(**parameters)


def _sums(rng: random.Random, channels: int) -> list[tuple[int, int]]:
    """Sum and sum of squares: equal channels, both ends of the range, random rows."""
    low, high = RESIDUAL.low, RESIDUAL.high
    sums = [(channels * x, channels * x * x) for x in (0, 1, -1, low, high, 181)]
    half = channels // 2
    sums.append(
        (half * high + (channels - half) * low, half * high**2 + (channels - half) * low**2)
    )
    for _ in range(12):
        size = 1 << rng.randrange(16)
        middle = rng.randint(low + size, high - size) if size < high else 0
        row = [middle + rng.randint(-size, size - 1) for _ in range(channels)]
        sums.append((sum(row), sum(x * x for x in row)))
    return sums


@cocotb.test()
@cocotb.parametrize(channels=[1, 2, 5, 64, 192, NORM.max_channels])
@cocotb.parametrize(epsilon=[0, 1, 54_321, (1 << 32) - 1])
@cocotb.parametrize(stall=[0.0, 0.95])
async def statistics(dut: Any, channels: int, epsilon: int, stall: float) -> None:
    """Every row's statistics; without stalls at the stated pace, the first after the latency."""
    sums = _sums(random.Random(seeded(channels)), channels)
    await start(dut)
    dut.channels.value, dut.epsilon.value = channels, epsilon
    source = Source(dut, "sums", SUMS, stall=stall)
    source.put(*({"total": total, "square_total": squares} for total, squares in sums))
    entered: list[int] = []
    left: list[int] = []
    cycle = 0
    while len(left) < len(sums):
        await ReadOnly()
        if int(dut.sums__valid.value) and int(dut.sums__ready.value):
            entered.append(cycle)
        if int(dut.valid.value):
            index = len(left)
            total, squares = sums[index]
            half, reciprocal = row_statistics(total, squares, channels, epsilon)
            expected = {"total": total, "half": half, "reciprocal": reciprocal}
            check("row_statistics", read(dut, "result", STATISTICS), expected, index=index)
            left.append(cycle)
        await FallingEdge(dut.clk)
        cycle += 1
    check("row_statistics (latency)", left[0] - entered[0], RowStatistics.LATENCY)
    for earlier, later in pairwise(entered):
        if stall:
            assert later - earlier >= RowStatistics.CYCLES
        else:
            check("row_statistics (cycles)", later - earlier, RowStatistics.CYCLES)
