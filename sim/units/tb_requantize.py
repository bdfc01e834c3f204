"""Requantize against its golden function: corners, ties, random operands, stalls."""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring

from golden_model.units.requantize import requantize
from rtl_gen.postproc.requantize import Requantize
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check
from spec.formats import ACT, REQUANTIZE, RESIDUAL

PARAMETERS = [
    {"low": RESIDUAL.low, "high": RESIDUAL.high},
    {"low": ACT.low, "high": ACT.high, "logic": True},
    {"low": RESIDUAL.low, "high": RESIDUAL.high, "x_bits": 20, "addend_bits": 0},
    {"low": RESIDUAL.low, "high": RESIDUAL.high, "split": True},
    {"low": RESIDUAL.low, "high": RESIDUAL.high, "x_bits": 20, "addend_bits": 0, "split": True},
]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return Requantize(**parameters)


def _operands(rng: random.Random, x_bits: int, addend_bits: int, high: int) -> list[tuple]:
    """x, addend, multiplier, shift: corners, ties of both signs, then results in and near range."""
    top, top_addend = 1 << x_bits - 1, 1 << addend_bits - 1 if addend_bits else 0
    corners = [
        (x, addend, multiplier, shift)
        for x in (-top, top - 1, 0, -1, 1)
        for addend in (-top_addend, max(top_addend - 1, 0), 0)
        for multiplier in (0, 1, (1 << 16) - 1)
        for shift in (0, 1, 15, 16, 31, 32, REQUANTIZE.max_shift)
    ]
    ties = [
        (odd << shift - 1, 0, 1, shift)
        for odd in range(-9, 10, 2)
        for shift in range(1, x_bits - 4)
    ]
    limits = [(sign * (high + step), 0, 1, 0) for sign in (-1, 1) for step in range(-3, 4)]
    limits += [(sign * (2 * high + step), 0, 1, 1) for sign in (-1, 1) for step in range(-5, 6)]
    usual = []
    for _ in range(1500):
        bits = rng.randint(1, x_bits - 1)
        addend = rng.randint(-(1 << bits - 1), 1 << bits - 1) if addend_bits else 0
        result_bits = rng.randint(2, high.bit_length() + 1)
        shift = min(max(bits - result_bits, 0) + 16, REQUANTIZE.max_shift)
        x = rng.randint(-(1 << bits), (1 << bits) - 1)
        usual.append((x, addend, rng.randint(1 << 15, (1 << 16) - 1), shift))
    return corners + ties + limits + usual


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.3])
async def results(dut: Any, stall: float) -> None:
    """Every result, `latency` enabled cycles after its operands."""
    options = parameters()
    unit = Requantize(**options)
    low, high = options["low"], options["high"]
    rng = random.Random(seeded(1))
    has_addend = bool(options.get("addend_bits", 32))
    operands = _operands(rng, options.get("x_bits", 32), 32 if has_addend else 0, high)
    expected = [int(requantize(*operand, low, high)) for operand in operands]
    await start(dut)
    index = 0
    while index < len(operands) + unit.latency:
        if index >= unit.latency:
            at = index - unit.latency
            check("requantize", dut.o.value.to_signed(), expected[at], index=at, of=operands[at])
        enable = int(rng.random() >= stall)
        dut.enable.value = enable
        x, addend, multiplier, shift = operands[min(index, len(operands) - 1)]
        dut.x.value, dut.multiplier.value, dut.shift.value = x, multiplier, shift
        if has_addend:
            dut.addend.value = addend
        await cycles(dut)
        index += enable
