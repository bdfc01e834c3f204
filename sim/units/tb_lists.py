"""The list source against nested loops over the steps of lists and inner words."""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring

from rtl_gen.attention_interfaces import entries_layout
from rtl_gen.index_engine.lists import ListSource
from rtl_gen.interfaces import ADDRESS_BITS, WALK, step_layout
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, Source, check, check_all
from spec.masks import GROUP_BITS

PARAMETERS = [{"banks": 4, "max_head_words": 3}, {"banks": 8, "max_head_words": 1}]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return ListSource(**parameters)


def _pair(rng: random.Random) -> tuple[dict[str, int], list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a walk, the steps of its list, and the array steps they stand for."""
    banks, most = parameters()["banks"], parameters()["max_head_words"]
    words = rng.randint(1, most)
    walk = {
        "base": rng.randrange(1 << 16),
        "count": rng.choice((1, 1, 2, 3, 7)),
        "stride": rng.randint(words, most),
        "words": words,
        "offset": rng.randrange(16),
    }
    entries, steps = [], []
    for at in range(walk["count"]):
        tag = {
            "second": rng.getrandbits(banks),
            "group": [rng.randrange(1 << GROUP_BITS) for _ in range(banks)],
        }
        entries.append({"valid": rng.getrandbits(banks), "tag": tag})
        for word in range(words):
            address = [walk["base"] + group * walk["stride"] + word for group in tag["group"]]
            last = word == words - 1
            steps.append(
                {
                    "address": [one % (1 << ADDRESS_BITS) for one in address],
                    "valid": entries[-1]["valid"],
                    "tag": tag,
                    "word": word,
                    "first": int(at == 0 and word == 0),
                    "last": int(at == walk["count"] - 1 and last),
                    "group_first": int(word == 0),
                    "group_last": int(last),
                    "sparse": 0,
                }
            )
    return walk, entries, steps


async def _run(dut: Any, seed: int, pairs: int, *, late: float, lists: float, out: float) -> int:
    """Run random pairs; return the cycles that are not steps."""
    await start(dut)
    banks = parameters()["banks"]
    rng = random.Random(f"lists/{seeded(seed)}")
    walks = Source(dut, "walk", WALK, seed=seed, stall=late)
    entries = Source(dut, "entries", entries_layout(banks), seed=seed, stall=lists)
    sink = Sink(dut, "step", step_layout(banks, True, True), seed=seed, stall=out)
    expected: list[dict[str, Any]] = []
    for _ in range(pairs):
        walk, own, steps = _pair(rng)
        walks.put(walk)
        entries.put(*own)
        expected += steps
    used = 0
    while sink.transfers < len(expected):
        await cycles(dut)
        used += 1
    await cycles(dut, 5)
    got = [{name: step[name] for name in expected[0]} for step in sink.received]
    check_all("lists", got, expected, seed=seed)
    return used - len(expected)


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """One step a cycle, no bubble between pairs: only the start costs cycles."""
    check("lists.bubbles", await _run(dut, 1, 60, late=0.0, lists=0.0, out=0.0) <= 3, True)


@cocotb.test()
@cocotb.parametrize(stalls=[(0.0, 0.0, 0.6), (0.8, 0.0, 0.2), (0.0, 0.7, 0.3)])
async def with_stalls(dut: Any, stalls: tuple[float, float, float]) -> None:
    """The array stalls, walks come late, lists come late."""
    late, lists, out = stalls
    await _run(dut, 2, 40, late=late, lists=lists, out=out)
