"""ResidualAdd against its golden function: all corners, random operands."""

import itertools
import random
from typing import Any

import cocotb
from amaranth.lib import wiring

from golden_model.units.residual_add import residual_add
from rtl_gen.postproc.residual_add import ResidualAdd
from sim.bench import cycles, seeded, start
from sim.streams import check
from spec.formats import RESIDUAL

PARAMETERS = [{}]


def component() -> wiring.Component:
    """The component under test."""
    return ResidualAdd()


@cocotb.test()
async def results(dut: Any) -> None:
    """Sum and saturation flag."""
    rng = random.Random(seeded(1))
    low, high = RESIDUAL.low, RESIDUAL.high
    corners = [low, low + 1, -1, 0, 1, high - 1, high, low // 2, low // 2 - 1, high // 2 + 1]
    operands = list(itertools.product(corners, corners))
    for _ in range(1000):
        limit = rng.choice([100, 16000, high])
        operands.append((rng.randint(-limit, limit), rng.randint(-limit, limit)))
    await start(dut)
    for index, (h, delta) in enumerate(operands):
        dut.h.value, dut.delta.value = h, delta
        await cycles(dut)
        expected = int(residual_add(h, delta))
        got = dut.o.value.to_signed()
        check("residual_add", got, expected, index=index, of=(h, delta))
        saturated = int(dut.saturated.value)
        check("residual_add", saturated, int(expected != h + delta), index=index, of=(h, delta))
