"""The epilogue's rows at their places, against the golden machine's: writes, presence, errors."""

import random
from collections import deque
from itertools import pairwise
from typing import Any

import cocotb
from amaranth.lib import wiring
from cocotb.triggers import FallingEdge, ReadOnly

from rtl_gen.interfaces import ERROR, placed_layout, row_write_layout
from rtl_gen.postproc.epilogue import Epilogue
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check, check_all, read
from sim.units.epilogue_cases import Case, random_case
from sim.units.place_cases import Lists
from sim.units.tb_epilogue import TB
from spec.isa import Destination
from spec.registers import Error

PARAMETERS = [
    {"banks": 4, "lanes": 8, "vector_lanes": 4, "column_tables": 8, "max_positions": 256},
    {"banks": 8, "lanes": 64, "vector_lanes": 16, "column_tables": 8, "max_positions": 512},
    {"banks": 4, "lanes": 8, "vector_lanes": 8, "column_tables": 8, "max_positions": 256},
]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return Epilogue(**parameters)


class PlacedTB(TB):
    """An epilogue with origins and a list of places, and who watches what is present."""

    def __init__(
        self,
        dut: Any,
        case: Case,
        lists: Lists,
        *,
        seed: int,
        stall: float = 0.0,
        forget: float = 0,
    ) -> None:
        size = parameters()
        super().__init__(dut, case, seed=seed, stall=stall)
        self.row.shape = row_write_layout(size["banks"], self.lanes, places=True)
        self.lists, self.forget = lists, forget
        self.place_random = random.Random(f"lists/{seeded(seed)}")
        self.placed: list[dict[str, int]] = []
        self.present: list[dict[str, int]] = []
        """What must be present: of writes whose command has not been forgotten."""
        self.rows = 0
        cocotb.start_soon(self._lists())

    async def _lists(self) -> None:
        """Origins, places, and now and then `forget`."""
        dut, draw = self.dut, self.place_random
        entered, forgotten = deque[int](), set[int]()
        pcs = iter(command["pc"] for command in self.case.commands)
        at_places = iter(self.case.row_writes)
        self.case.row_writes = [
            {name: value for name, value in write.items() if name != "group"}
            for write in self.case.row_writes
        ]
        while True:
            for name in ("origin__row", "place_read__request"):
                getattr(dut, f"{name}__ready").value = int(draw.random() >= self.stall)
            dut.forget.value = int(draw.random() < self.forget)
            await ReadOnly()
            row, address = (
                int(getattr(dut, f"{name}__payload").value) if self._transfers(name) else None
                for name in ("origin__row", "place_read__request")
            )
            placed = read(dut, "placed", placed_layout(self.lists.banks))
            if placed.pop("valid"):
                self.placed.append(placed)
            if self._transfers("row_write"):
                write = next(at_places)
                if "group" in write and write["pc"] not in forgotten:
                    self.present.append({name: write[name] for name in placed})
            if self._transfers("command"):
                entered.append(next(pcs))
            if int(dut.forget.value):
                forgotten |= set(entered)
            await FallingEdge(dut.clk)
            dut.origin__valid.value = int(row is not None)
            dut.origin__origin.value = (
                draw.getrandbits(12) if row is None else self.lists.origin(row)
            )
            dut.place_read__valid.value = int(address is not None)
            dut.place_read__data.value = (
                draw.getrandbits(8 * self.lanes) if address is None else self.lists.word(address)
            )

    async def run(self, seed: int) -> None:
        """As for any epilogue; and what is present."""
        await super().run(seed)
        check_all("placed_rows (present)", self.placed, self.present, seed=seed)


def _case(seed: int, lists: Lists, *, placed: float = 0.7, **options: Any) -> Case:
    """Random commands; most of those that write rows put them at places."""
    size, draw = parameters(), random.Random(f"placed/{seeded(seed)}")
    names = ("banks", "lanes", "vector_lanes", "column_tables")
    options = {"count": max(8, 300 // size["lanes"]), "attention": 0.2} | options
    case = random_case(seed, **{name: size[name] for name in names}, **options)
    for write in case.row_writes:
        write["all_banks"] = 0
    for command in case.commands:
        command["positions"] = draw.randrange(lists.words - 300)
        command["placed"] = int(draw.random() < placed)
        if not _at_places(command):
            continue
        own = [write for write in case.row_writes if write["pc"] == command["pc"]]
        for write, place in zip(own, lists.places(command), strict=True):
            place.pop("bad")
            offset = place["group"] * command["target_stride"]
            write |= place | {"address": command["target"] + offset}
    return case


def _at_places(command: dict[str, Any]) -> bool:
    rows = not command["attention"] and command["destination"] == Destination.ROWS
    return bool(rows and command["placed"])


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.4], forget=[0.0, 0.015])
async def random_commands(dut: Any, stall: float, forget: float) -> None:
    """Rows at places and elsewhere, with and without sums; some are forgotten on their way."""
    seed = int(10 * stall + 1000 * forget)
    lists = Lists(seed, lanes=parameters()["lanes"], bad=0)
    case = _case(seed, lists, destinations=(Destination.ROWS, Destination.ROWS, Destination.WIDE))
    await start(dut)
    bench = PlacedTB(dut, case, lists, seed=seed, stall=stall, forget=forget)
    await bench.run(seed)
    rows = sum(place["rows"] for place in case.commands if _at_places(place))
    assert 0 < len(bench.placed) <= rows
    assert (len(bench.placed) < rows) == bool(forget)


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """Rows at places come as fast as others: one in lanes / vector_lanes cycles."""
    size = parameters()
    groups = size["lanes"] // size["vector_lanes"]
    lists = Lists(11, lanes=size["lanes"], bad=0)
    options = {"attention": 0.0, "accumulate": 0.0, "destinations": (Destination.ROWS,)}
    case = _case(11, lists, placed=1.0, count=20, max_rows=12, **options)
    await start(dut)
    bench = PlacedTB(dut, case, lists, seed=11)
    await bench.run(11)
    check("placed_rows (latency)", bench.written[0] - bench.results[0], Epilogue.LATENCY)
    at = 0
    for command in case.commands:
        taken = bench.results[at : at + command["rows"]]
        gaps = {later - earlier for earlier, later in pairwise(taken)}
        check("placed_rows (gaps)", gaps - {groups}, set(), index=at)
        at += command["rows"]


@cocotb.test()
async def bad_place(dut: Any) -> None:
    """A row without a place stops the epilogue with INDEX and the pc; what came before ends."""
    size = parameters()
    lists = Lists(17, lanes=size["lanes"], bad=0.2)
    options = {"attention": 0.0, "accumulate": 0.0, "destinations": (Destination.ROWS,)}
    case = random_case(
        17,
        **{name: size[name] for name in ("banks", "lanes", "vector_lanes", "column_tables")},
        count=4,
        **options,
    )
    good, stops = 0, None
    draw = random.Random(17)
    for command in case.commands:
        command |= {"placed": 1, "positions": draw.randrange(lists.words - 300)}
        for place in lists.places(command):
            if stops is None and place["bad"]:
                stops = command["pc"]
            good += stops is None
    assert stops is not None
    await start(dut)
    bench = PlacedTB(dut, case, lists, seed=17)
    bench.sources["command"].put(*case.commands)
    bench.sources["accumulators"].put(*case.accumulators)
    await cycles(dut, 600)
    error = read(dut, "error", ERROR)
    check("placed_rows (error)", error, {"valid": 1, "code": Error.INDEX, "pc": stops})
    check("placed_rows (writes)", bench.writes, good)
