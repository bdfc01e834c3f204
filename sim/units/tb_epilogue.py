"""The epilogue against the golden units: every write, credit and saturation, in order."""

import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import cocotb
import numpy as np
from amaranth.lib import wiring
from cocotb.triggers import FallingEdge, ReadOnly

from rtl_gen.interfaces import (
    EPILOGUE_COMMAND,
    ERROR,
    GIVE,
    GIVE_TOKEN,
    ROW_SCALE,
    accumulators_layout,
    row_write_layout,
    table_read_port,
    token_write_layout,
)
from rtl_gen.postproc.epilogue import Epilogue
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, Source, check, check_all, pack, read
from sim.units.epilogue_cases import Case, Credit, random_case
from spec.isa import PARTIAL_WORDS, Destination
from spec.registers import Error

PARAMETERS = [
    {"banks": 4, "lanes": 8, "vector_lanes": 4, "column_tables": 8, "thresholds": True},
    {"banks": 8, "lanes": 16, "vector_lanes": 4, "column_tables": 8, "logic_multipliers": True},
    {"banks": 2, "lanes": 4, "vector_lanes": 4, "column_tables": 8},
]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return Epilogue(**parameters)


class TB:
    """Sources, sinks, memories and monitors of one epilogue."""

    def __init__(self, dut: Any, case: Case, *, seed: int = 0, stall: float = 0.0) -> None:
        size = parameters()
        self.dut, self.case, self.stall = dut, case, stall
        self.lanes, self.vector_lanes = size["lanes"], size["vector_lanes"]
        self.thresholds = size.get("thresholds", False)
        self.random = random.Random(f"memory/{seeded(seed)}")
        self.memory = dict(case.memory)
        self.credits: list[Credit] = []
        self.saturations = self.cleared = 0
        self.writes = 0
        self.results: list[int] = []
        """Cycles in which an accumulator word was taken."""
        self.written: list[int] = []
        shapes = {
            "command": EPILOGUE_COMMAND,
            "accumulators": accumulators_layout(self.lanes),
            "row_scale": ROW_SCALE,
        }
        self.sources = {
            name: Source(dut, name, shape, seed=seed, stall=stall) for name, shape in shapes.items()
        }
        self.token = Sink(
            dut, "token_write", token_write_layout(self.lanes), seed=seed, stall=stall
        )
        self.row = Sink(
            dut, "row_write", row_write_layout(size["banks"], self.lanes), seed=seed, stall=stall
        )
        self.table_layout = table_read_port(self.vector_lanes).members["data"].shape
        self.cycle = 0
        self.monitor = cocotb.start_soon(self._run())

    def _table_word(self, address: int) -> int:
        groups = self.lanes // self.vector_lanes
        entries = self.case.tables[address // groups]
        at = address % groups * self.vector_lanes
        return pack(self.table_layout, entries[at : at + self.vector_lanes])

    def _transfers(self, name: str) -> bool:
        valid = int(getattr(self.dut, f"{name}__valid").value)
        return bool(valid and int(getattr(self.dut, f"{name}__ready").value))

    async def _run(self) -> None:
        """Token and table memory; counts what passes.

        A residual must not be read before its result is there: only then has its row's credit
        been taken.
        """
        dut = self.dut
        granted: int | None = None
        wanted: int | None = None
        reads = 0
        while True:
            dut.residual__request__ready.value = int(self.random.random() >= self.stall)
            dut.residual__valid.value = int(granted is not None)
            data = self.random.randbytes(self.lanes) if granted is None else self.memory[granted]
            dut.residual__data.value = int.from_bytes(data, "little")
            dut.partial__request__ready.value = int(self.random.random() >= self.stall)
            dut.partial__valid.value = int(wanted is not None)
            data = self.random.randbytes(self.lanes) if wanted is None else self.memory[wanted]
            dut.partial__data.value = int.from_bytes(data, "little")
            await ReadOnly()
            granted = wanted = None
            if self._transfers("partial__request"):
                wanted = int(dut.partial__request__payload.value)
            if self._transfers("residual__request"):
                granted = int(dut.residual__request__payload.value)
                reads += 1
                offered = len(self.results) + int(dut.accumulators__valid.value)
                permitted = 2 * sum(self.case.adds[:offered])
                check("epilogue (residual reads)", max(reads, permitted), permitted)
            table = None
            if int(dut.table__enable.value):
                table = self._table_word(int(dut.table__address.value))
            give, token = read(dut, "give", GIVE), read(dut, "give_token", GIVE_TOKEN)
            if token["valid"]:
                self.credits.append(Credit("token", token["index"], self.writes))
            if give["valid"]:
                self.credits.append(Credit("mask", give["mask"], self.writes))
            self.saturations += int(dut.residual_saturations.value)
            if self.thresholds:
                self.cleared += int(dut.values_cleared.value)
            if self._transfers("accumulators"):
                self.results.append(self.cycle)
            write = None
            if self._transfers("token_write"):
                write = read(dut, "token_write__payload", token_write_layout(self.lanes))
            if self._transfers("token_write") or self._transfers("row_write"):
                self.writes += 1
                self.written.append(self.cycle)
            await FallingEdge(dut.clk)
            self.cycle += 1
            if table is not None:
                dut.table__data.value = table
            if write is not None:
                word = bytearray(self.memory[write["address"]])
                for lane in range(self.lanes):
                    if write["mask"] >> lane & 1:
                        word[lane] = write["data"] >> 8 * lane & 255
                self.memory[write["address"]] = bytes(word)

    async def run(self, seed: int) -> None:
        """Feed the whole case and compare all that comes."""
        case = self.case
        self.sources["command"].put(*case.commands)
        self.sources["accumulators"].put(*case.accumulators)
        self.sources["row_scale"].put(*case.row_scales)
        for _ in range(200 * len(case.accumulators) + 1000):
            if self.writes == case.writes:
                break
            await cycles(self.dut)
        await cycles(self.dut, 40)
        check_all("epilogue (token writes)", self.token.received, case.token_writes, seed=seed)
        check_all("epilogue (row writes)", self.row.received, case.row_writes, seed=seed)
        credits = [vars(credit) for credit in self.credits]
        check_all("epilogue (credits)", credits, map(vars, case.credits), seed=seed)
        check("epilogue (saturations)", self.saturations, case.saturations, seed=seed)
        check("epilogue (cleared)", self.cleared, case.cleared, seed=seed)
        check("epilogue (idle)", int(self.dut.idle.value), 1, seed=seed)
        check("epilogue (error)", read(self.dut, "error", ERROR)["valid"], 0, seed=seed)


def _case(seed: int, **options: Any) -> Case:
    size = parameters()
    count = options.pop("count", max(8, 400 // size["lanes"]))
    names = ("banks", "lanes", "vector_lanes", "column_tables")
    options.setdefault("thresholds", size.get("thresholds", False))
    return random_case(seed, **{name: size[name] for name in names}, count=count, **options)


def _emptied(case: Case) -> Case:
    """The case's sizes and memory, without its commands and what they make."""
    return replace(
        case,
        commands=[],
        accumulators=[],
        adds=[],
        token_writes=[],
        credits=[],
        saturations=0,
        cleared=0,
    )


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.3, 0.8])
async def random_commands(dut: Any, stall: float) -> None:
    """All destinations and activations, mixed."""
    seed = int(stall * 10)
    case = _case(seed)
    await start(dut)
    await TB(dut, case, seed=seed, stall=stall).run(seed)


@cocotb.test()
async def short_residuals(dut: Any) -> None:
    """Instructions of one or two rows that add to words which are still on their way."""
    case = _case(7, max_rows=2, destinations=(Destination.RESIDUAL,), attention=0.1)
    await start(dut)
    await TB(dut, case, seed=7).run(7)


@cocotb.test()
@cocotb.parametrize(destination=[0, 1, 2, 3, 4])
async def full_rate(dut: Any, destination: int) -> None:
    """A result in lanes / vector_lanes cycles, without a bubble, and the stated latency."""
    size, place = parameters(), Destination(destination)
    groups = size["lanes"] // size["vector_lanes"]
    case = _case(11, count=20, destinations=(place,), attention=0.0, accumulate=0.0)
    await start(dut)
    bench = TB(dut, case, seed=11)
    await bench.run(11)
    if place == Destination.RESIDUAL:
        return
    halves = 2 if place == Destination.PARTIAL else 1
    words = {Destination.WIDE: 2, Destination.PARTIAL: PARTIAL_WORDS}.get(place, 1)
    second_half = words // 2 if place == Destination.PARTIAL else 0
    # where a half comes in fewer cycles than it has words, the second one waits for the first
    waits = max(second_half - groups, 0)
    latency = bench.written[second_half] - bench.results[0]
    check("epilogue (latency)", latency, Epilogue.LATENCY + waits)
    at = 0
    for command in case.commands:
        taken = bench.results[at : at + command["rows"]]
        gaps = {later - earlier for earlier, later in pairwise(taken)}
        if halves * groups >= words:
            check("epilogue (gaps)", gaps - {halves * groups}, set(), index=at)
        at += command["rows"]


@cocotb.test()
async def residual_rate(dut: Any) -> None:
    """Within an instruction, residuals flow at the rate of the results or the memory port."""
    size = parameters()
    groups = size["lanes"] // size["vector_lanes"]
    options = {"destinations": (Destination.RESIDUAL,), "attention": 0.0, "accumulate": 0.0}
    case = _case(13, count=1, max_rows=1, **options)
    command = {**case.commands[0], "rows": 12, "target": 0}
    case = _emptied(case)
    memory = dict(case.memory)
    numbers = [[random.randint(-99, 99) for _ in range(case.lanes)] for _ in range(12)]
    case.add(command, np.array(numbers), [])
    case.memory = memory
    await start(dut)
    bench = TB(dut, case, seed=13)
    await bench.run(13)
    gaps = [later - earlier for earlier, later in pairwise(bench.written[1::2])]
    check("epilogue (rate)", max(gaps), max(groups, 2))


@cocotb.test()
async def chained_sums(dut: Any) -> None:
    """Instructions of a row or two, each adding to the sums that the one before leaves."""
    case = _case(19, count=1, max_rows=1, destinations=(Destination.PARTIAL,), attention=0.0)
    first = {**case.commands[0], "target": 30, "target_stride": PARTIAL_WORDS}
    memory = dict(case.memory)
    case = _emptied(case)
    numbers = np.random.default_rng(19)
    for pc in range(8):
        last = pc == 7
        command = {
            **first,
            "pc": pc,
            "rows": 2,
            "accumulate": int(pc > 0),
            "partial": 30,
            "broadcast": 0,
            "destination": Destination.WIDE if last else Destination.PARTIAL,
        }
        case.add(command, numbers.integers(-(1 << 28), 1 << 28, (2, case.lanes)), [])
    case.memory = memory
    await start(dut)
    await TB(dut, case, seed=19).run(19)


@cocotb.test()
async def bad_table(dut: Any) -> None:
    """A table that does not exist stops the epilogue with an error; what came before ends."""
    case = _case(17, count=2, attention=0.0)
    await start(dut)
    bench = TB(dut, case, seed=17)
    bad = {**case.commands[1], "table": parameters()["column_tables"], "pc": 777}
    bench.sources["command"].put(case.commands[0], bad)
    bench.sources["accumulators"].put(*case.accumulators)
    await cycles(dut, 300)
    error = read(dut, "error", ERROR)
    check("epilogue (error)", error, {"valid": 1, "code": Error.TABLE_ADDRESS, "pc": 777})
    expected = sum(1 for write in case.token_writes + case.row_writes if write["pc"] == 0)
    check("epilogue (writes)", bench.writes, expected)
