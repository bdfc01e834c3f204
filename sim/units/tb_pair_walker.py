"""The walker of pairs against the golden machine: pairs, entries, events, and wrong lists."""

import random
from typing import Any

import cocotb
from amaranth.lib import data, wiring
from cocotb.triggers import FallingEdge, ReadOnly

from rtl_gen.attention_interfaces import entries_layout
from rtl_gen.sequencer.list_reader import LIST_COMMAND
from rtl_gen.sequencer.pair_walker import PAIR, PairWalker
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, check, check_all, read, write
from sim.units.list_cases import FAULTS, Lists, random_lists
from spec.masks import GROUP_BITS

PARAMETERS = [
    {"banks": 4, "lanes": 8, "most": 32},
    {"banks": 8, "lanes": 64, "most": 128},
    {"banks": 8, "lanes": 8, "most": 8},
]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return PairWalker(**parameters)


class _World:
    """Token memory, origins and places; counts the events."""

    def __init__(self, dut: Any, case: Lists, seed: int, stall: float) -> None:
        self.dut, self.case, self.stall = dut, case, stall
        self.random = random.Random(f"pair_walker/{seeded(seed)}")
        self.banks, self.lanes = parameters()["banks"], parameters()["lanes"]
        self.masked = self.words_used = self.passed = self.cycle = 0
        self.failed_at: int | None = None
        self.task = cocotb.start_soon(self._run())

    def _port(self, name: str, ready: bool) -> int | None:
        """Answer of last cycle's grant is driven by the caller; returns what is granted now."""
        request = f"{name}__request" if name == "read" else f"{name}__row"
        valid = int(getattr(self.dut, f"{request}__valid").value)
        return int(getattr(self.dut, f"{request}__payload").value) if valid and ready else None

    async def _run(self) -> None:
        dut, case = self.dut, self.case
        word: int | None = None
        row: int | None = None
        groups = data.ArrayLayout(GROUP_BITS, self.banks)
        while True:
            # the groups come from registers, so the places can answer now
            asked = read(dut, "lookup__group", groups)
            dut.lookup__present.value = sum(
                int(case.present[bank, group]) << bank for bank, group in enumerate(asked)
            )
            ready = {name: self.random.random() >= self.stall for name in ("read", "origin")}
            dut.read__request__ready.value = int(ready["read"])
            dut.origin__row__ready.value = int(ready["origin"])
            dut.read__valid.value = int(word is not None)
            bits = self.random.getrandbits(8 * self.lanes)
            if word is not None:
                bits = int.from_bytes(case.memory[word].tobytes(), "little")
            dut.read__data.value = bits
            dut.origin__valid.value = int(row is not None)
            dut.origin__origin.value = (
                self.random.getrandbits(12) if row is None else case.origin[row]
            )
            await ReadOnly()
            word, row = self._port("read", ready["read"]), self._port("origin", ready["origin"])
            self.masked += int(dut.masked.value)
            self.words_used += int(dut.word_used.value)
            self.passed += int(dut.passing.value)
            if int(dut.error.value) and self.failed_at is None:
                self.failed_at = self.cycle
            await FallingEdge(dut.clk)
            self.cycle += 1


async def _run(dut: Any, seed: int, fault: str = "none", stall: float = 0.0, most: int = 9) -> int:
    """Walk random lists; returns the cycles from the start to the last entry."""
    size = parameters()
    case = random_lists(
        seed,
        banks=size["banks"],
        lanes=size["lanes"],
        most=size["most"],
        pairs=most,
        fault=fault,
    )
    world = _World(dut, case, seed, stall)
    pairs = Sink(dut, "pairs", PAIR, seed=seed, stall=stall)
    entries = Sink(dut, "entries", entries_layout(size["banks"]), seed=seed, stall=stall)
    write(dut, "lists", LIST_COMMAND, {"address": case.address, "words": case.words})
    dut.rows.value, dut.keys.value, dut.start.value = case.rows, case.keys, 1
    await cycles(dut)
    dut.start.value, dut.rows.value = 0, world.random.getrandbits(12)
    used = 0
    while int(dut.active.value) if not case.error else world.failed_at is None:
        await cycles(dut)
        used += 1
        assert used < 5_000, f"pair_walker: {fault} lists of seed {seed} do not end"
    await cycles(dut, 30)
    check("pair_walker.error", world.failed_at is not None, case.error, seed=seed, of=fault)
    if not case.error:
        check_all("pair_walker.pairs", pairs.received, case.pairs, seed=seed)
        check_all("pair_walker.entries", entries.received, case.entries, seed=seed)
        for name in ("masked", "words_used", "passed"):
            check(f"pair_walker.{name}", getattr(world, name), getattr(case, name), seed=seed)
    for part in (pairs, entries):
        part.task.cancel()
    world.task.cancel()
    return used


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5])
async def random_walks(dut: Any, stall: float) -> None:
    """Instruction after instruction, dead pairs among them."""
    await start(dut)
    for seed in range(8):
        await _run(dut, seed, stall=stall, most=2 + 3 * seed)


@cocotb.test()
async def one_step_a_cycle(dut: Any) -> None:
    """Nothing stalls: a step of the list a cycle, and a few cycles at the start and end."""
    await start(dut)
    size = parameters()
    case = random_lists(5, **size, pairs=30)
    used = await _run(dut, 5, most=30)
    steps = sum(pair["steps"] + 1 for pair in case.pairs) + case.passed
    check("pair_walker.cycles", used <= steps + 8, True, of=(used, steps))


@cocotb.test()
async def wrong_lists(dut: Any) -> None:
    """Each fault is found, and the walk does not go on for ever."""
    await start(dut)
    for seed in range(3):
        for fault in FAULTS[1:]:
            await _run(dut, seed, fault)
            dut.rst.value = 1
            await cycles(dut, 2)
            dut.rst.value = 0
