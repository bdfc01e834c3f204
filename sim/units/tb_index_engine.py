"""The index engine against nested loops over groups and inner words, and its search for scalars."""

from collections.abc import Iterator
from typing import Any

import cocotb
from amaranth.lib import wiring

from rtl_gen.index_engine.index_engine import IndexEngine
from rtl_gen.interfaces import ADDRESS_BITS, step_layout, walk_layout
from rtl_gen.sequencer.operand_reader import operand_layout
from sim.bench import cycles, parameters, start
from sim.streams import Sink, Source, check, check_all, read
from sim.units.search_cases import check_steps, model_steps, rows_of

PARAMETERS = [
    {"banks": 4, "lanes": 8, "sparse": True, "zero_skip": True},
    {"banks": 1},
    {"banks": 4},
    {"banks": 8},
    {"banks": 8, "lanes": 64, "sparse": True, "zero_skip": True},
    {"banks": 2, "lanes": 2, "sparse": True, "zero_skip": True, "search_words": 3},
]

STEPS_OVER_BEST = [
    (768, 0.4, 1.005),
    (768, 0.6, 1.01),
    (768, 0.8, 1.06),
    (1536, 0.4, 1.005),
    (1536, 0.6, 1.02),
    (1536, 0.8, 1.1),
]
"""Depth, share of zeros, and most steps over those of each row's fullest bank."""


def component(**sizes: int) -> wiring.Component:
    """The component under test."""
    return IndexEngine(**sizes)


def _layouts() -> tuple[Any, Any]:
    """Of a walk and of a step."""
    sparse = parameters().get("sparse", False)
    return walk_layout(sparse), step_layout(parameters()["banks"], sparse)


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
    walk_shape, step_shape = _layouts()
    source = Source(dut, "walk", walk_shape, seed=seed, stall=stall_in)
    sink = Sink(dut, "step", step_shape, seed=seed, stall=stall_out)
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
    received = [{name: step[name] for name in expected[0]} for step in sink.received]
    check_all("index_engine", received, expected, seed=seed)
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


# The search -------------------------------------------------------------------------------------


async def _search(dut: Any, seed: int, steady: bool, **stalls: float) -> None:
    """Search rows of many depths and shares of zeros, a dense walk between the instructions."""
    p = parameters()
    if not p.get("zero_skip"):
        return
    banks, lanes = p["banks"], p["lanes"]
    view = p.get("search_words", 4)
    await start(dut)
    walk_shape, step_shape = _layouts()
    walks = Source(dut, "walk", walk_shape, seed=seed, stall=stalls.get("walk", 0.0))
    words = Source(dut, "words", operand_layout(lanes), seed=seed, stall=stalls.get("words", 0.0))
    sink = Sink(dut, "step", step_shape, seed=seed, stall=stalls.get("step", 0.0))
    rng = walks.random
    for number in range(40):
        depth = rng.choice((1, banks, lanes, lanes + 1, 2 * lanes - 1, rng.randint(1, 9 * lanes)))
        zeros = rng.choice((0.0, 0.4, 0.8, 0.95, 1.0))
        count = rng.choice((1, 2, 5, 8))
        search = rows_of(rng, banks=banks, lanes=lanes, count=count, depth=depth, zeros=zeros)
        walks.put(*[search.walk()] * count)
        words.put(*(word for row in search.rows for word in row.words))
        dense = {"base": number, "count": banks, "stride": 1, "words": 1, "offset": 0}
        walks.put(dense)
        lasts = used = poor = 0
        while lasts <= count:
            await cycles(dut)
            used += 1
            poor += read(dut, "passing", 1)
            lasts = sum(step["last"] for step in sink.received)
            assert used < 20_000, "index_engine: the steps do not end"
        steps = list(sink.received)
        sink.received.clear()
        own = next(_steps(dense, banks))
        check("index_engine.dense", {name: steps[-1][name] for name in own}, own, seed=seed)
        check("index_engine.dense", steps.pop()["sparse"], 0, seed=seed)
        counts = check_steps(search, steps, banks, seed)
        if steady:
            check("index_engine.count", counts, model_steps(search, banks, view), seed=seed)
            # 3 cycles to the first step, 2 for the dense walk, 1 to see it
            check("index_engine.bubbles", used - len(steps) - poor <= 7, True, seed=seed)


@cocotb.test()
async def search(dut: Any) -> None:
    """A word a cycle: as many steps as the model, no cycle lost but where words hold nothing."""
    await _search(dut, 4, True)


@cocotb.test()
async def search_and_slow_taker(dut: Any) -> None:
    """The array stalls."""
    await _search(dut, 5, False, step=0.6)


@cocotb.test()
async def search_and_late_words(dut: Any) -> None:
    """Words and walks come late: the end of a row is known long after its last scalar."""
    await _search(dut, 6, False, words=0.7, walk=0.5, step=0.2)


@cocotb.test()
async def steps_against_the_ideal(dut: Any) -> None:
    """Rows of words of 64 channels take hardly more steps than their fullest bank has scalars."""
    p = parameters()
    if p.get("lanes") != 64:
        return
    banks = p["banks"]
    await start(dut)
    walk_shape, step_shape = _layouts()
    walks = Source(dut, "walk", walk_shape, seed=7)
    words = Source(dut, "words", operand_layout(64), seed=7)
    sink = Sink(dut, "step", step_shape, seed=7)
    for depth, zeros, limit in STEPS_OVER_BEST:
        search = rows_of(walks.random, banks=banks, lanes=64, count=20, depth=depth, zeros=zeros)
        walks.put(*[search.walk()] * len(search.rows))
        words.put(*(word for row in search.rows for word in row.words))
        lasts = used = steps = 0
        while lasts < len(search.rows):
            await cycles(dut)
            used += 1
            while sink.received:
                lasts += sink.received.popleft()["last"]
                steps += 1
        ideal = sum(row.scalars() for row in search.rows) / banks
        best = sum(max(len(row.of_bank(b)) for b in range(banks)) for row in search.rows)
        shares = f"{steps / ideal:.3f} steps, {used / ideal:.3f} cycles, at best {best / ideal:.3f}"
        dut._log.info(f"depth {depth}, {zeros} zeros: {shares}")
        assert steps <= limit * best, f"index_engine: {shares} of scalars / banks"
        assert used <= steps + 5, f"index_engine: {used} cycles for {steps} steps"
