"""The index engine against nested loops over groups and inner words."""

from collections.abc import Iterator
from typing import Any

import cocotb
from amaranth.lib import wiring

from rtl_gen.index_engine.index_engine import IndexEngine
from rtl_gen.interfaces import ADDRESS_BITS, WALK, step_layout
from sim.bench import cycles, parameters, start
from sim.streams import Sink, Source, check, check_all

PARAMETERS = [{"banks": 1}, {"banks": 4}, {"banks": 8}]


def component(*, banks: int) -> wiring.Component:
    """The component under test."""
    return IndexEngine(banks=banks)


def _steps(walk: dict[str, int], banks: int) -> Iterator[dict[str, Any]]:
    """Return what a walk stands for."""
    groups = -(-walk["count"] // banks)
    for group in range(groups):
        for word in range(walk["words"]):
            address = walk["base"] + group * walk["stride"] + walk["offset"] + word
            yield {
                "address": [address % (1 << ADDRESS_BITS)] * banks,
                "valid": sum((group * banks + b < walk["count"]) << b for b in range(banks)),
                "scalar": [group] * banks,
                "word": word,
                "first": int(group == 0 and word == 0),
                "last": int(group == groups - 1 and word == walk["words"] - 1),
                "group_first": int(word == 0),
                "group_last": int(word == walk["words"] - 1),
            }


async def _run(dut: Any, seed: int, stall_in: float, stall_out: float) -> int:
    """Return the cycles from the first offer to the last step."""
    banks = parameters()["banks"]
    await start(dut)
    source = Source(dut, "walk", WALK, seed=seed, stall=stall_in)
    sink = Sink(dut, "step", step_layout(banks), seed=seed, stall=stall_out)
    rng = source.random
    walks = [{"base": 0, "count": 1, "stride": 1, "words": 1, "offset": 0}]
    for count in (1, banks - 1 or 1, banks, banks + 1, 2 * banks, 3 * banks - 1):
        for words in (1, 2, 3, 15):
            walks.append(
                {
                    "base": rng.randrange(1 << 16),
                    "count": count,
                    "stride": rng.choice((words, 15)),
                    "words": words,
                    "offset": rng.randrange(16),
                }
            )
    walks.append({"base": 5, "count": 300, "stride": 1, "words": 1, "offset": 0})
    rng.shuffle(walks)
    expected = [step for walk in walks for step in _steps(walk, banks)]
    source.put(*walks)
    used = 0
    while sink.transfers < len(expected):
        await cycles(dut)
        used += 1
    await cycles(dut, 5)
    check_all("index_engine", sink.received, expected, seed=seed)
    return used - len(expected)


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """One step a cycle, no bubble between walks: only the start costs cycles."""
    check("index_engine.bubbles", await _run(dut, 1, 0.0, 0.0) <= 3, True)


@cocotb.test()
async def slow_taker(dut: Any) -> None:
    """The array stalls."""
    await _run(dut, 2, 0.0, 0.6)


@cocotb.test()
async def slow_giver(dut: Any) -> None:
    """Walks come late."""
    await _run(dut, 3, 0.8, 0.2)
