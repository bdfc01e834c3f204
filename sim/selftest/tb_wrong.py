"""Tests that must fail: `tests/sim/test_bench.py` checks that each does, and how."""

from typing import Any

import cocotb
from amaranth.lib import wiring

from sim.bench import cycles, start
from sim.selftest.tb_adder import Adder
from sim.streams import Source, check

PARAMETERS = [{"bits": 8}]


def component(*, bits: int) -> wiring.Component:
    """The component under test."""
    return Adder(bits=bits)


@cocotb.test()
async def differs(dut: Any) -> None:
    """A wrong result."""
    await start(dut)
    check("adder", int(dut.o__valid.value), 1, seed=7, index=3)


@cocotb.test()
async def hangs(dut: Any) -> None:
    """Waits for ever: the output is never ready."""
    await start(dut, watchdog_cycles=100)
    source = Source(dut, "i", Adder(bits=8).i.payload.shape())
    await source.send([{"tag": 1}] * 3)


@cocotb.test()
async def takes_back(dut: Any) -> None:
    """Lets the sink see a payload that changes before its transfer."""
    from sim.streams import Sink

    await start(dut)
    Sink(dut, "array__1", Adder(bits=8).array[1].payload.shape(), stall=1.0)
    Source(dut, "i", Adder(bits=8).i.payload.shape()).put({"tag": 1})
    dut.o__ready.value = 1
    await cycles(dut, 10)
