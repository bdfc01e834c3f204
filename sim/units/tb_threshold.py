"""Threshold against its golden function: values at the limit and beside it, random ones."""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring

from golden_model.units.threshold import threshold
from rtl_gen.postproc.threshold import Threshold
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check

PARAMETERS = [{"x_bits": 16, "limit_bits": 16}, {"x_bits": 9, "limit_bits": 8}]


def component(**sizes: int) -> wiring.Component:
    """The component under test."""
    return Threshold(**sizes)


@cocotb.test()
async def results(dut: Any) -> None:
    """Result, and whether something was cleared."""
    rng = random.Random(seeded(1))
    p = parameters()
    half, most = 1 << p["x_bits"] - 1, (1 << p["limit_bits"]) - 1
    limits = [0, 1, 2, most // 2, most - 1, most, *(rng.randint(0, most) for _ in range(200))]
    await start(dut)
    seen = set()
    for index, limit in enumerate(limits):
        near = (sign * limit + off for sign in (-1, 1) for off in (-1, 0, 1))
        corners = [-half, half - 1, -1, 0, 1, *near, rng.randint(-half, half - 1)]
        for x in corners:
            if not -half <= x < half:
                continue
            dut.x.value, dut.limit.value = x, limit
            await cycles(dut)
            expected = int(threshold(x, limit))
            check("threshold", dut.o.value.to_signed(), expected, index=index, of=(x, limit))
            cleared = int(dut.cleared.value)
            check("threshold", cleared, int(expected != x), index=index, of=(x, limit))
            seen.add(cleared)
    assert seen == {0, 1}, "threshold: it was never, or always, cleared"
