"""Presence of places against an array of bits, cycle by cycle."""

import random
from typing import Any

import cocotb
import numpy as np
from amaranth.lib import data, wiring
from cocotb.triggers import FallingEdge, ReadOnly

from rtl_gen.buffers.places import Places
from rtl_gen.interfaces import placed_layout
from sim.bench import parameters, seeded, start
from sim.streams import check, write
from spec.masks import GROUP_BITS

PARAMETERS = [{"banks": 4}, {"banks": 8}]


def component(**sizes: int) -> wiring.Component:
    """The component under test."""
    return Places(**sizes)


@cocotb.test()
@cocotb.parametrize(forgets=[0.0, 0.02, 0.5])
async def writes_and_forgets(dut: Any, forgets: float) -> None:
    """Places are there from the cycle after their write until they are forgotten."""
    banks, groups = parameters()["banks"], 1 << GROUP_BITS
    seed = int(100 * forgets)
    rng = random.Random(seeded(seed))
    present = np.zeros((banks, groups), np.bool_)
    await start(dut)
    for index in range(1500):
        placed = {
            "valid": int(rng.random() < 0.4),
            "bank": rng.randrange(banks),
            "group": rng.randrange(groups),
            "all_banks": int(rng.random() < 0.2),
        }
        forget = rng.random() < forgets
        group = [rng.randrange(groups) for _ in range(banks)]
        write(dut, "placed", placed_layout(banks), placed)
        write(dut, "lookup__group", data.ArrayLayout(GROUP_BITS, banks), group)
        dut.forget.value = int(forget)
        await ReadOnly()
        expected = sum(int(present[bank, group[bank]]) << bank for bank in range(banks))
        check("places", int(dut.lookup__present.value), expected, seed=seed, index=index)
        if placed["valid"]:
            at = slice(None) if placed["all_banks"] else placed["bank"]
            present[at, placed["group"]] = True
        if forget:
            present[:] = False
        await FallingEdge(dut.clk)
