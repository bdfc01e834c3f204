"""The query buffers of several head groups: each group sees its own words of every query row."""

import random
from typing import Any

import cocotb
from amaranth.lib import data, wiring
from cocotb.triggers import ReadOnly

from rtl_gen.sequencer.operand_reader import operand_layout
from rtl_gen.sequencer.query_buffers import QueryBuffers
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check, read, write

PARAMETERS = [
    {"lanes": 8, "max_head_words": 3, "head_groups": 3},
    {"lanes": 4, "max_head_words": 1, "head_groups": 2},
]


def component(*, lanes: int, max_head_words: int, head_groups: int) -> wiring.Component:
    """The component under test."""
    return QueryBuffers(lanes=lanes, max_head_words=max_head_words, head_groups=head_groups)


async def _instruction(dut: Any, rng: random.Random, pace: float) -> None:
    """Some query rows of one instruction: random words in, every word of every group out."""
    p = parameters()
    lanes, groups = p["lanes"], rng.randint(1, p["head_groups"])
    words, count = rng.randint(1, p["max_head_words"]), rng.randint(1, 5)
    rows = [
        [[rng.randrange(256) for _ in range(lanes)] for _ in range(groups * words)]
        for _ in range(count)
    ]
    dut.accept.value = 1
    dut.head_words.value = words
    dut.further_groups.value = groups - 1
    dut.head_dim.value = words * lanes
    dut.first_lane.value = 0
    stream = [(word, index == len(row) - 1) for row in rows for index, word in enumerate(row)]
    vectors = data.ArrayLayout(8, p["head_groups"] * lanes)
    dut.words__valid.value = dut.schedule.value = dut.done.value = 0
    await cycles(dut)
    given = scheduled = done = 0
    while done < count:
        offered = given < len(stream) and rng.random() < pace
        word, last = stream[min(given, len(stream) - 1)]
        bits = int.from_bytes(bytes(word), "little")
        dut.words__valid.value = int(offered)
        write(dut, "words__payload", operand_layout(lanes), {"data": bits, "last": int(last)})
        full_rows = given // (groups * words)
        schedules = scheduled < full_rows and rng.random() < pace
        finishes = done < scheduled and rng.random() < pace
        dut.schedule.value, dut.done.value = int(schedules), int(finishes)
        wanted = rng.randrange(words)
        dut.word.value = wanted
        await ReadOnly()
        check("query_buffers.loaded", int(dut.loaded.value), int(full_rows > scheduled))
        if full_rows > done:
            got = list(read(dut, "vector", vectors))
            for group in range(groups):
                expected = rows[done][group * words + wanted]
                check("query_buffers.vector", got[group * lanes :][:lanes], expected, index=group)
        given += offered and int(dut.words__ready.value)
        scheduled += schedules
        done += finishes
        await cycles(dut)
    check("query_buffers.given", given, len(stream))


@cocotb.test()
async def random_rows(dut: Any) -> None:
    """Any number of groups and words, at several paces."""
    await start(dut)
    rng = random.Random(seeded(1))
    for _ in range(60):
        await _instruction(dut, rng, rng.choice((1.0, 0.7, 0.3)))
