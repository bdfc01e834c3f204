"""Gelu against its golden function: corners, the knee, random inputs, the identity, stalls."""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring

from golden_model.units.gelu import gelu
from rtl_gen.postproc.gelu import Gelu
from sim.bench import cycles, seeded, start
from sim.streams import check
from spec.formats import GELU, RESIDUAL

PARAMETERS = [{"logic": False}, {"logic": True}]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return Gelu(**parameters)


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.3])
async def results(dut: Any, stall: float) -> None:
    """Every result, `LATENCY` enabled cycles after its input."""
    rng = random.Random(seeded(1))
    knee = GELU.knee
    inputs = [RESIDUAL.low, RESIDUAL.low + 1, RESIDUAL.high, *range(-40, 41)]
    inputs += [sign * knee + step for sign in (-1, 1) for step in range(-20, 21)]
    inputs += [rng.randint(-knee, knee) for _ in range(2000)]
    inputs += [rng.randint(RESIDUAL.low, RESIDUAL.high) for _ in range(300)]
    linear = [int(rng.random() < 0.1) for _ in inputs]
    curve = gelu(inputs)
    expected = [u if same else int(g) for u, g, same in zip(inputs, curve, linear, strict=True)]
    await start(dut)
    index = 0
    while index < len(inputs) + Gelu.LATENCY:
        if index >= Gelu.LATENCY:
            at = index - Gelu.LATENCY
            of = (inputs[at], linear[at])
            check("gelu", dut.o.value.to_signed(), expected[at], index=at, of=of)
        enable = int(rng.random() >= stall)
        dut.enable.value = enable
        now = min(index, len(inputs) - 1)
        dut.u.value, dut.linear.value = inputs[now], linear[now]
        await cycles(dut)
        index += enable
