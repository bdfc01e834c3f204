"""The error collector against "the lowest valid source, two cycles later"."""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring

from rtl_gen.error_collector import ErrorCollector
from rtl_gen.interfaces import ERROR, PC_BITS
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check, read, write
from spec.registers import Error

PARAMETERS = [{"sources": 1}, {"sources": 7}]


def component(*, sources: int) -> wiring.Component:
    """The component under test."""
    return ErrorCollector(sources=sources)


async def _report(dut: Any, found: list[dict[str, Any]], index: int) -> None:
    """Drive one cycle of sources and check the report of the next."""
    for number, source in enumerate(found):
        write(dut, f"i__{number}", ERROR, source)
    await cycles(dut)
    expected = next((source for source in found if source["valid"]), None)
    check("error_collector.pending", int(dut.pending.value), int(expected is not None), index=index)
    await cycles(dut)
    got = read(dut, "o", ERROR)
    check("error_collector.valid", got["valid"], int(expected is not None), index=index)
    if expected is not None:
        check("error_collector", got, expected, index=index, of=found)


@cocotb.test()
async def random_sources(dut: Any) -> None:
    """None, one, several and all sources at once, with contents also where none is valid."""
    await start(dut)
    check("error_collector.reset", read(dut, "o", ERROR)["valid"], 0)
    rng = random.Random(seeded(1))
    for index in range(400):
        chance = rng.choice((0.0, 0.1, 0.5, 1.0))
        found = [
            {
                "valid": int(rng.random() < chance),
                "code": rng.choice(list(Error)),
                "pc": rng.randrange(1 << PC_BITS),
            }
            for _ in range(parameters()["sources"])
        ]
        await _report(dut, found, index)


@cocotb.test()
async def every_pair(dut: Any) -> None:
    """Each source alone and each pair; a source that stays valid is reported again."""
    await start(dut)
    sources = parameters()["sources"]
    for first in range(sources):
        for second in range(first, sources):
            found = [
                {
                    "valid": int(number in (first, second)),
                    "code": Error(1 + number % Error.WATCHDOG.value),
                    "pc": (1 << PC_BITS) - 1 - number,
                }
                for number in range(sources)
            ]
            for repeat in range(2):
                await _report(dut, found, repeat)
