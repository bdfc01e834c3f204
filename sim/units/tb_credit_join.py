"""The join of credits: with the k-th event of the last group, in order, as that group gives it."""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring
from cocotb.triggers import ReadOnly

from rtl_gen.interfaces import GIVE_TOKEN
from rtl_gen.sequencer.credit_join import CreditJoin
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check, read, write

PARAMETERS = [{"head_groups": 3}, {"head_groups": 2}]
AHEAD = 7


def component(*, head_groups: int) -> wiring.Component:
    """The component under test."""
    return CreditJoin(shape=GIVE_TOKEN, head_groups=head_groups, ahead=AHEAD)


async def _phase(dut: Any, rng: random.Random, groups: int, chances: list[float]) -> None:
    """Events of the groups in mask `groups`, each at its own pace, until all have given all."""
    events = [rng.randrange(16) for _ in range(rng.randint(1, 40))]
    members = [number for number in range(len(chances)) if groups >> number & 1]
    given = dict.fromkeys(members, 0)
    joined = 0
    dut.groups.value = groups
    while joined < len(events):
        for number in range(len(chances)):
            gives = (
                number in members
                and given[number] < min(len(events), joined + AHEAD)
                and rng.random() < chances[number]
            )
            index = events[given[number]] if gives else rng.randrange(16)
            write(dut, f"i__{number}", GIVE_TOKEN, {"index": index, "valid": int(gives)})
            if gives:
                given[number] += 1
        await ReadOnly()
        got = read(dut, "o", GIVE_TOKEN)
        expected = int(min(given.values()) > joined)
        check("credit_join.valid", got["valid"], expected, index=joined)
        if expected:
            check("credit_join.index", got["index"], events[joined], index=joined)
            joined += 1
        await cycles(dut)


@cocotb.test()
async def any_pace(dut: Any) -> None:
    """Equal, random and very different paces; the groups at work change between phases."""
    await start(dut)
    rng, count = random.Random(seeded(1)), parameters()["head_groups"]
    for number in range(count):
        write(dut, f"i__{number}", GIVE_TOKEN, {"index": 0, "valid": 0})
    await ReadOnly()
    check("credit_join.reset", read(dut, "o", GIVE_TOKEN)["valid"], 0)
    await cycles(dut)
    for _ in range(60):
        groups = (1 << rng.randint(1, count)) - 1
        paces = rng.choice(((1.0,), (0.5,), (0.1, 1.0), (0.3, 0.6, 0.9)))
        await _phase(dut, rng, groups, [rng.choice(paces) for _ in range(count)])
