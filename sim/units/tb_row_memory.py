"""Row memory against a list of words, cycle by cycle: reads, both writers, errors, trace.

A word that this test has not written yet is unknown: reset does not clear a memory.
"""

import random
from typing import Any

import cocotb
from amaranth.lib import data, wiring
from cocotb.triggers import FallingEdge, ReadOnly

from rtl_gen.buffers.row_memory import RowMemory, row_trace_layout
from rtl_gen.interfaces import ADDRESS_BITS, row_write_layout
from sim.bench import parameters, seeded, start
from sim.streams import check, read, write
from sim.units.renamed import Renamed

PARAMETERS = [
    {"banks": 4, "lanes": 8, "words": 32},
    {"banks": 8, "lanes": 4, "words": 11, "places": True},
    {"banks": 1, "lanes": 1, "words": 1},
]


def component(**sizes: Any) -> wiring.Component:
    """The component under test."""
    return Renamed(RowMemory(**sizes), {"trace": "written"})


class Writer:
    """One writing client: random rows, held until they are taken."""

    def __init__(self, dut: Any, name: str, rng: random.Random, rate: float) -> None:
        self.dut, self.name, self.rng, self.rate = dut, name, rng, rate
        self.sizes = parameters()
        self.places = self.sizes.get("places", False) and name == "epilogue"
        self.layout = row_write_layout(self.sizes["banks"], self.sizes["lanes"], self.places)
        self.item: dict[str, int] | None = None

    def drive(self) -> None:
        """Offer an item, the old one if it still waits."""
        if self.item is None and self.rng.random() < self.rate:
            self.item = {
                "bank": self.rng.randrange(self.sizes["banks"]),
                "address": random_address(self.rng, self.sizes["words"]),
                "data": self.rng.getrandbits(self.sizes["lanes"] * 8),
                "pc": self.rng.getrandbits(16),
            }
            if self.places:
                self.item["all_banks"] = int(self.rng.random() < 0.3)
        getattr(self.dut, f"{self.name}__valid").value = int(self.item is not None)
        if self.item is not None:
            write(self.dut, f"{self.name}__payload", self.layout, self.item)


def random_address(rng: random.Random, words: int) -> int:
    """Return an address, now and then one beyond the end."""
    if rng.random() < 0.1:
        return rng.choice((words, words + 1, 2 * words, (1 << ADDRESS_BITS) - 1))
    return rng.randrange(words)


async def _run(dut: Any, seed: int, rates: tuple[float, float, float], steps: int = 400) -> None:
    banks, lanes, words = (parameters()[name] for name in ("banks", "lanes", "words"))
    places = parameters().get("places", False)
    rng = random.Random(seeded(seed))
    await start(dut)
    epilogue, loader = (
        Writer(dut, name, rng, rate)
        for name, rate in zip(("epilogue", "loader"), rates, strict=False)
    )
    memory: list[list[int | None]] = [[None] * words for _ in range(banks)]
    expected: list[int | None] = [None] * banks
    for index in range(steps):
        epilogue.drive()
        loader.drive()
        enable = int(rng.random() < rates[2])
        valid = rng.getrandbits(banks)
        addresses = [random_address(rng, words) for _ in range(banks)]
        dut.read_enable.value = enable
        dut.read_valid.value = valid
        write(dut, "read_address", data.ArrayLayout(ADDRESS_BITS, banks), addresses)
        await ReadOnly()

        def agree(what: str, got: Any, want: Any, index: int = index) -> None:
            check(f"row_memory.{what}", got, want, seed=seed, index=index)

        first, second = epilogue.item, loader.item
        reads = [bool(enable and valid >> b & 1) for b in range(banks)]
        text = str(dut.read_data.value)
        for b, row in enumerate(expected):
            if row is not None:
                end = len(text) - b * lanes * 8
                agree(f"read_data[{b}]", int(text[end - lanes * 8 : end], 2), row)
        agree("rows_read", int(dut.rows_read.value), sum(reads))
        beyond = any(reads[b] and addresses[b] >= words for b in range(banks))
        agree("read_error", int(dut.read_error.value), int(beyond))
        agree("epilogue.ready", int(dut.epilogue__ready.value), 1)
        everywhere = bool(first and first.get("all_banks"))
        conflict = bool(first and second and (everywhere or first["bank"] == second["bank"]))
        if second:
            agree("loader.ready", int(dut.loader__ready.value), int(not conflict))
        first_bad = bool(first and first["address"] >= words)
        second_bad = bool(second and not conflict and second["address"] >= words)
        agree("epilogue_error", int(dut.epilogue_error.value), int(first_bad))
        agree("loader_error", int(dut.loader_error.value), int(second_bad))
        trace = read(dut, "written", row_trace_layout(banks, lanes, places))
        agree("trace.valid", trace.pop("valid"), int(first is not None and not first_bad))
        if first and not first_bad:
            bank = banks if everywhere else first["bank"]
            agree("trace", trace, {name: first[name] for name in trace} | {"bank": bank})

        for b in range(banks):
            if reads[b]:
                expected[b] = memory[b][addresses[b]] if addresses[b] < words else None
        if first and not first_bad:
            for b in range(banks) if everywhere else (first["bank"],):
                memory[b][first["address"]] = first["data"]
        if second and not conflict and not second_bad:
            memory[second["bank"]][second["address"]] = second["data"]
        epilogue.item = None
        if not conflict:
            loader.item = None
        await FallingEdge(dut.clk)


@cocotb.test()
async def busy(dut: Any) -> None:
    """All three clients in every cycle."""
    await _run(dut, 1, (1.0, 1.0, 1.0))


@cocotb.test()
async def sparse(dut: Any) -> None:
    """Pauses on all sides: read data hold."""
    await _run(dut, 2, (0.4, 0.5, 0.3))


@cocotb.test()
async def loader_alone(dut: Any) -> None:
    """Loader writes, then reads."""
    await _run(dut, 3, (0.0, 1.0, 0.8))
