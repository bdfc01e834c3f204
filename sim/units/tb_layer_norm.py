"""LayerNorm against the golden unit: every write and credit, in order."""

import random
from itertools import pairwise
from typing import Any

import cocotb
from amaranth.lib import wiring
from cocotb.triggers import FallingEdge, ReadOnly

from rtl_gen.interfaces import (
    ERROR,
    GIVE,
    GIVE_TOKEN,
    NORM_COMMAND,
    table_read_port,
    token_write_layout,
)
from rtl_gen.postproc.layer_norm import LayerNorm
from rtl_gen.postproc.row_statistics import RowStatistics
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, Source, check, check_all, pack, read
from sim.units.norm_cases import Case, random_case
from spec.registers import Error

PARAMETERS = [
    {"lanes": 8, "norm_lanes": 4, "norm_tables": 16},
    {"lanes": 16, "norm_lanes": 2, "norm_tables": 7, "logic_multipliers": True},
    {"lanes": 4, "norm_lanes": 4, "norm_tables": 32},
    {"lanes": 32, "norm_lanes": 8, "norm_tables": 32},
]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return LayerNorm(**parameters)


class TB:
    """Source, sinks, memories and monitors of one LayerNorm."""

    def __init__(self, dut: Any, case: Case, *, seed: int = 0, stall: float = 0.0) -> None:
        size = parameters()
        self.dut, self.case, self.seed, self.stall = dut, case, seed, stall
        self.lanes, self.norm_lanes = size["lanes"], size["norm_lanes"]
        self.random = random.Random(f"memory/{seeded(seed)}")
        self.command = Source(dut, "command", NORM_COMMAND, seed=seed, stall=stall)
        self.tokens = Sink(dut, "take_token", 4, seed=seed, stall=stall)
        self.write = Sink(dut, "write", token_write_layout(self.lanes), seed=seed, stall=stall)
        self.table_layout = table_read_port(self.norm_lanes).members["data"].shape
        self.credits: list[tuple[str, int, int]] = []
        self.written: list[int] = []
        """Cycles in which a word was written."""
        self.reads = 0
        cocotb.start_soon(self._run())

    def _transfers(self, name: str) -> bool:
        valid, ready = getattr(self.dut, f"{name}__valid"), getattr(self.dut, f"{name}__ready")
        return bool(int(valid.value) and int(ready.value))

    async def _run(self) -> None:
        """Token and table memory; counts what passes."""
        dut, cycle, asked = self.dut, 0, None
        while True:
            dut.read__request__ready.value = int(self.random.random() >= self.stall)
            await ReadOnly()
            word, entries = None, None
            if self._transfers("read__request"):
                word = self.case.memory[int(dut.read__request__payload.value)]
                self.reads += 1
            pending = int(dut.read__request__valid.value) and not int(
                dut.read__request__ready.value
            )
            address = int(dut.read__request__payload.value)
            if asked is not None:
                check("layer_norm (request held)", address, asked, seed=self.seed)
            asked = address if pending else None
            if int(dut.table__enable.value):
                first = int(dut.table__address.value) * self.norm_lanes
                entries = self.case.tables[first : first + self.norm_lanes]
            token, give = read(dut, "give_token", GIVE_TOKEN), read(dut, "give", GIVE)
            if token["valid"]:
                self.credits.append(("token", token["index"], len(self.written)))
            if give["valid"]:
                self.credits.append(("mask", give["mask"], len(self.written)))
            if self._transfers("write"):
                self.written.append(cycle)
            await FallingEdge(dut.clk)
            cycle += 1
            dut.read__valid.value = int(word is not None)
            dut.read__data.value = self.random.getrandbits(8 * self.lanes) if word is None else word
            if entries is not None:
                dut.table__data.value = pack(self.table_layout, entries)

    async def run(self) -> None:
        """Feed the whole case and compare all that comes."""
        case, seed = self.case, self.seed
        self.command.put(*case.commands)
        writes = await self.write.receive(len(case.writes))
        await cycles(self.dut, 30)
        check_all("layer_norm", writes, case.writes, seed=seed)
        check_all("layer_norm (credits)", self.credits, case.credits, seed=seed)
        check_all("layer_norm (tokens)", self.tokens.received, case.tokens, seed=seed)
        check("layer_norm (reads)", self.reads, 4 * len(case.writes), seed=seed)
        check("layer_norm (idle)", int(self.dut.idle.value), 1, seed=seed)
        check("layer_norm (error)", read(self.dut, "error", ERROR)["valid"], 0, seed=seed)


def _case(seed: int, channels: int, row_counts: list[int], **options: Any) -> Case:
    size = parameters()
    return random_case(
        seed,
        lanes=size["lanes"],
        norm_tables=size["norm_tables"],
        channels=channels,
        row_counts=row_counts,
        **options,
    )


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5])
@cocotb.parametrize(channels=[1, 13, 64, 100])
async def random_rows(dut: Any, channels: int, stall: float) -> None:
    """Several instructions of one width; stalls on all sides, with and without tokens."""
    seed = channels + int(stall * 10)
    case = _case(seed, channels, [1, 14, 2, 5] if not stall else [1, 7, 2])
    await start(dut)
    await TB(dut, case, seed=seed, stall=stall).run()


@cocotb.test()
async def widest_row(dut: Any) -> None:
    """As many channels as the tables hold, or 1,023."""
    size = parameters()
    case = _case(3, min(size["lanes"] * size["norm_tables"], 1023), [4])
    await start(dut)
    await TB(dut, case, seed=3).run()


@cocotb.test()
@cocotb.parametrize(channels=[4, 64])
async def full_rate(dut: Any, channels: int) -> None:
    """The cycles a row takes, in the middle of many."""
    size = parameters()
    case = _case(4, channels, [24], signals=True)
    await start(dut)
    bench = TB(dut, case, seed=4)
    await bench.run()
    blocks = -(-channels // size["lanes"])
    ends = bench.written[blocks - 1 :: blocks]
    rows = [later - earlier for earlier, later in pairwise(ends)][8:-8]
    width = min(size["norm_lanes"], size["lanes"] // 2)
    bound = max(4 * blocks, blocks * size["lanes"] // width, RowStatistics.CYCLES)
    assert sum(rows) <= len(rows) * (bound + 1), f"{rows}, not {bound} cycles a row"


@cocotb.test()
@cocotb.parametrize(
    wrong=[
        ("channels", 0, Error.OPERAND),
        ("channels", 1024, Error.OPERAND),
        ("rows", 0, Error.OPERAND),
        ("table", None, Error.TABLE_ADDRESS),
    ]
)
async def errors(dut: Any, wrong: tuple[str, int | None, Error]) -> None:
    """A senseless instruction stops the unit, after those before it."""
    name, value, code = wrong
    case = _case(5, 13, [3])
    if value is None:
        value = parameters()["norm_tables"] - -(-13 // parameters()["lanes"]) + 1
    await start(dut)
    bench = TB(dut, case, seed=5)
    bad = {**case.commands[0], name: value, "pc": 777}
    bench.command.put(*case.commands, bad, *case.commands)
    writes = await bench.write.receive(len(case.writes))
    await cycles(dut, 300)
    check_all("layer_norm", writes, case.writes)
    check("layer_norm (writes)", len(bench.write.received), 0)
    check("layer_norm (error)", read(dut, "error", ERROR), {"valid": 1, "code": code, "pc": 777})
