"""Isqrt against its golden function: around perfect squares, corners, random numbers."""

import random
from itertools import pairwise
from typing import Any

import cocotb
from amaranth.lib import wiring
from cocotb.triggers import FallingEdge, ReadOnly

from golden_model.units.isqrt import isqrt
from rtl_gen.primitives.isqrt import Isqrt
from sim.bench import parameters, seeded, start
from sim.streams import Sink, Source, check, check_all
from spec.formats import NORM

PARAMETERS = [{}, {"digits_per_cycle": 2}, {"digits_per_cycle": 16}]
BITS = NORM.root_bits


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return Isqrt(**parameters)


def _numbers(seed: int, count: int) -> list[int]:
    """Squares, their neighbours, the ends of the range, and numbers of every length."""
    rng = random.Random(seeded(seed))
    numbers = [0, 1, 2, 3, 4, 8, 9, (1 << 2 * BITS) - 1, 1 << 2 * BITS - 2]
    for _ in range(count):
        root = rng.randrange(1 << BITS - 1, 1 << BITS)
        numbers += [root * root - 1, root * root, root * (root + 2)]
        numbers += [rng.getrandbits(2 * BITS), rng.getrandbits(rng.randint(1, 2 * BITS))]
    return numbers


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5])
async def roots(dut: Any, stall: float) -> None:
    """All roots, in order, with stalls on both sides."""
    seed = int(stall * 10)
    numbers = _numbers(seed, 60)
    await start(dut)
    source = Source(dut, "i", 2 * BITS, seed=seed, stall=stall)
    sink = Sink(dut, "o", BITS, seed=seed, stall=stall)
    source.put(*numbers)
    got = await sink.receive(len(numbers))
    check_all("isqrt", got, isqrt(numbers), seed=seed)


@cocotb.test()
async def latency(dut: Any) -> None:
    """A number's root comes `LATENCY` cycles later, and the next number enters with it."""
    await start(dut)
    source, sink = Source(dut, "i", 2 * BITS), Sink(dut, "o", BITS)
    source.put(*_numbers(3, 2))
    entered, left = [], []
    for cycle in range(150):
        await ReadOnly()
        if int(dut.i__valid.value) and int(dut.i__ready.value):
            entered.append(cycle)
        if int(dut.o__valid.value) and int(dut.o__ready.value):
            left.append(cycle)
        await FallingEdge(dut.clk)
    assert sink.transfers == len(left) > 3
    expected = Isqrt(**parameters()).LATENCY
    for index, (came, went) in enumerate(zip(entered, left, strict=False)):
        check("isqrt (latency)", went - came, expected, index=index)
    for earlier, later in pairwise(entered):
        check("isqrt (interval)", later - earlier, expected)
