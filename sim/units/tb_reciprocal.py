"""Reciprocal against its golden function: every input there is."""

import random
from collections import deque
from typing import Any

import cocotb
from amaranth.lib import wiring

from golden_model.units.reciprocal import reciprocal
from rtl_gen.primitives.reciprocal import Reciprocal
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check

PARAMETERS = [
    {"tag_bits": 5},
    {"tag_bits": 3, "serial": True},
    {"tag_bits": 1, "digits_per_stage": 1},
    {"tag_bits": 2, "digits_per_stage": 3, "serial": True},
    {"tag_bits": 2, "digits_per_stage": 4, "serial": True},
    {"tag_bits": 8, "digits_per_stage": 4},
]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return Reciprocal(**parameters)


async def _run(dut: Any, numbers: list[int], stall: float, seed: int) -> None:
    latency, tag_bits = Reciprocal(**parameters()).LATENCY, parameters()["tag_bits"]
    apart = latency if parameters().get("serial") else 1
    rng = random.Random(seeded(seed))
    expected = reciprocal(numbers)
    await start(dut)
    entered: deque[tuple[int, int]] = deque()
    """Index of each number in the pipeline, and the cycle in which its result is due."""
    sent = cycle = free = 0
    while sent < len(numbers) or entered:
        due = bool(entered) and entered[0][1] == cycle
        check("reciprocal (valid)", int(dut.result_valid.value), int(due), seed=seed, index=cycle)
        if due:
            index, _ = entered.popleft()
            got = int(dut.result.value), int(dut.result_tag.value)
            tag = index & (1 << tag_bits) - 1
            check("reciprocal", got, (expected[index], tag), index=index, of=numbers[index])
        valid = sent < len(numbers) and cycle >= free and rng.random() >= stall
        dut.valid.value = int(valid)
        if valid:
            dut.divisor.value = numbers[sent]
            dut.tag.value = sent & (1 << tag_bits) - 1
            entered.append((sent, cycle + latency))
            sent += 1
            free = cycle + apart
        else:
            dut.divisor.value = rng.randrange(1 << 16)
        await cycles(dut)
        cycle += 1


@cocotb.test()
async def every_number(dut: Any) -> None:
    """One a cycle, each `LATENCY` cycles later; of the serial unit, every ninth."""
    step = 9 if parameters().get("serial") else 1
    await _run(dut, list(range(1 << 15, 1 << 16, step)), stall=0.0, seed=0)


@cocotb.test()
async def bubbles(dut: Any) -> None:
    """Corners and random numbers, with gaps."""
    rng = random.Random(seeded(1))
    numbers = [1 << 15, (1 << 15) + 1, (1 << 16) - 1, 3 << 14]
    numbers += [rng.randrange(1 << 15, 1 << 16) for _ in range(500)]
    await _run(dut, numbers, stall=0.5, seed=1)
