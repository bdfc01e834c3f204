"""Idle banks and left-out multiplications against sums over whole rows."""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring

from rtl_gen.sequencer.skipped_work import SkippedWork
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check

PARAMETERS = [{"banks": 4, "lanes": 8}, {"banks": 2, "lanes": 4, "head_groups": 3}]


def component(**sizes: int) -> wiring.Component:
    """The component under test."""
    return SkippedWork(**sizes)


@cocotb.test()
async def rows(dut: Any) -> None:
    """Searched rows of all depths, between cycles without a step and steps of other passes."""
    await start(dut)
    rng, p = random.Random(seeded(1)), parameters()
    banks, lanes, groups = p["banks"], p["lanes"], p.get("head_groups", 1)
    owed = 0

    async def step(fired: int, valid: int, last: int, sparse: int) -> int:
        """One cycle; returns the idle banks that it tells."""
        nonlocal owed
        dut.fired.value, dut.valid.value = fired, valid
        dut.last.value, dut.sparse.value = last, sparse
        await cycles(dut)
        idle = int(dut.idle_banks.value)
        # after the edge that counts this step, the row's multiplications are there
        check("skipped_work.macs", int(dut.macs.value), owed)
        owed = 0
        return idle

    for _ in range(300):
        searching = rng.randrange(2)
        columns = rng.choice((1, lanes * groups, rng.randint(1, lanes * groups)))
        work = -(-columns // lanes) if searching else 1
        dut.searching.value, dut.columns.value = searching, columns
        masks = [rng.getrandbits(banks) for _ in range(rng.choice((1, 2, rng.randint(1, 30))))]
        taken = sum(mask.bit_count() for mask in masks)
        depth = taken + rng.choice((0, 1, rng.randrange(1000)))
        dut.depth.value = depth
        for number, mask in enumerate(masks):
            while rng.random() < 0.3:
                check("skipped_work.idle", await step(0, mask, rng.randrange(2), 1), 0)
            last, sparse = number == len(masks) - 1, searching | rng.randrange(2)
            owed = (depth - taken) * columns if last and searching else 0
            idle = await step(1, mask, int(last), sparse)
            missing = (banks - mask.bit_count()) * work
            check("skipped_work.idle", idle, missing if sparse else 0, index=number)
