"""Places of rows against the golden machine's, in order, and how fast they come."""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring
from cocotb.triggers import FallingEdge, ReadOnly

from rtl_gen.interfaces import EPILOGUE_COMMAND, place_layout
from rtl_gen.postproc.place_reader import PlaceReader
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, check, check_all, write
from sim.units.place_cases import Lists
from spec.isa import Destination

PARAMETERS = [
    {"banks": 4, "lanes": 8, "depth": 4, "slots": 4, "max_positions": 1000},
    {"banks": 8, "lanes": 64, "depth": 8, "slots": 4, "max_positions": 30},
]


def component(**sizes: Any) -> wiring.Component:
    """The component under test."""
    return PlaceReader(**sizes)


class TB:
    """Memories of one place reader, and the commands it sees."""

    def __init__(self, dut: Any, seed: int, *, stall: float = 0.0, slow: float = 0.0) -> None:
        size = parameters()
        self.dut, self.seed, self.stall = dut, seed, stall
        self.banks, self.slots = size["banks"], size["slots"]
        self.random = random.Random(f"places/{seeded(seed)}")
        self.lists = Lists(seed, lanes=size["lanes"], bad=0.03)
        self.places = Sink(dut, "o", place_layout(self.banks), seed=seed, stall=slow)
        self.expected: list[dict[str, int]] = []
        self.cycle, self.came = 0, []
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        """Origins and token memory."""
        dut = self.dut
        while True:
            for name in ("origin__row", "memory__request"):
                getattr(dut, f"{name}__ready").value = int(self.random.random() >= self.stall)
            await ReadOnly()
            row, address = (
                int(getattr(dut, f"{name}__payload").value)
                if int(getattr(dut, f"{name}__valid").value)
                and int(getattr(dut, f"{name}__ready").value)
                else None
                for name in ("origin__row", "memory__request")
            )
            if int(dut.o__valid.value) and int(dut.o__ready.value):
                self.came.append(self.cycle)
            await FallingEdge(dut.clk)
            self.cycle += 1
            dut.origin__valid.value = int(row is not None)
            dut.origin__origin.value = (
                self.random.getrandbits(12) if row is None else self.lists.origin(row)
            )
            dut.memory__valid.value = int(address is not None)
            dut.memory__data.value = (
                self.random.getrandbits(8 * parameters()["lanes"])
                if address is None
                else self.lists.word(address)
            )

    def expect(self, command: dict[str, Any]) -> None:
        """What must come of a command's rows."""
        for row, place in enumerate(self.lists.places(command)):
            if not place["bad"]:
                place["offset"] = place["group"] * command["target_stride"]
                place["bad"] = int(row >= parameters()["max_positions"])
            self.expected.append(place)

    async def enter(self, command: dict[str, Any]) -> None:
        """A command enters the epilogue."""
        write(self.dut, "command", EPILOGUE_COMMAND, command)
        self.dut.entered.value = 1
        await cycles(self.dut)
        self.dut.entered.value = 0
        write(self.dut, "command", EPILOGUE_COMMAND, {"rows": self.random.randrange(1, 99)})

    def command(self, rows: int, *, placed: bool = True) -> dict[str, Any]:
        """A placed command, or one of the others; whatever they hold."""
        kind = "placed" if placed else self.random.choice(("attention", "elsewhere", "plain"))
        others = [place for place in Destination if place != Destination.ROWS]
        elsewhere = kind == "elsewhere"
        return {
            "pc": self.random.getrandbits(16),
            "attention": int(kind == "attention"),
            "destination": self.random.choice(others) if elsewhere else Destination.ROWS,
            "placed": int(kind != "plain"),
            "rows": rows,
            "target_stride": self.random.getrandbits(8),
            "positions": self.random.randrange(self.lists.words - 300),
        }

    async def finish(self) -> None:
        """Compare all places."""
        got = await self.places.receive(len(self.expected))
        for place, expected in zip(got, self.expected, strict=True):
            if expected["bad"]:
                expected |= place | {"bad": 1}
        check_all("place_reader", got, self.expected, seed=self.seed)
        await cycles(self.dut, 30)
        check("place_reader (places)", len(self.places.received), 0, seed=self.seed)


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.4], slow=[0.0, 0.6])
async def commands(dut: Any, stall: float, slow: float) -> None:
    """Placed ones and others, as many as fit the epilogue."""
    seed = int(10 * stall + 100 * slow)
    await start(dut)
    bench = TB(dut, seed, stall=stall, slow=slow)
    in_work: list[int] = []
    for index in range(60):
        placed = bench.random.random() < 0.7
        command = bench.command(bench.random.choice((1, 1, 2, 3, 9, 40)), placed=placed)
        while len(in_work) == bench.slots:
            await cycles(dut)
            in_work = [end for end in in_work if bench.places.transfers < end]
        if placed:
            bench.expect(command)
            in_work.append(len(bench.expected))
        await bench.enter(command)
        if index % 3:
            await cycles(dut, bench.random.choice((0, 1, 20)))
    assert {place["bad"] for place in bench.expected} == {0, 1}
    await bench.finish()


@cocotb.test()
async def rate(dut: Any) -> None:
    """The first place comes after its latency; then one a cycle, or four in six cycles."""
    await start(dut)
    bench = TB(dut, 5)
    command = bench.command(40)
    bench.expect(command)
    began = bench.cycle
    await bench.enter(command)
    await bench.finish()
    depth = parameters()["depth"]
    loop = PlaceReader.LOOP
    check("place_reader (latency)", bench.came[0] - began, PlaceReader.LATENCY)
    spent = bench.came[39] - bench.came[0]
    expected = 39 if depth >= loop else 39 // depth * loop + 39 % depth
    check("place_reader (cycles)", spent, expected)


@cocotb.test()
async def reads_name_their_instruction(dut: Any) -> None:
    """The pc of a read beyond token memory is that of the command that is walked."""
    await start(dut)
    bench = TB(dut, 6)
    first, second = bench.command(3), bench.command(2)
    pcs = []
    for command in (first, second):
        await bench.enter(command)
    for _ in range(60):
        if int(dut.memory__request__valid.value):
            pcs.append(int(dut.pc.value))
        await cycles(dut)
    check("place_reader (pc)", pcs, [first["pc"]] * 3 + [second["pc"]] * 2)
