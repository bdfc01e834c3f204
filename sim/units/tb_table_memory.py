"""Table memory against a list of words, cycle by cycle.

A word that this test has not written yet is unknown: reset does not clear a memory.
"""

import random
from typing import Any

import cocotb
from amaranth.lib import data, wiring
from cocotb.triggers import FallingEdge, ReadOnly

from rtl_gen.buffers.table_memory import TableMemory
from rtl_gen.interfaces import ADDRESS_BITS, TABLE_ENTRY, table_write_layout
from sim.bench import parameters, seeded, start
from sim.streams import check, read, write

PARAMETERS = [
    {"words": 16, "entries": 4},
    {"words": 11, "entries": 2},
    {"words": 1, "entries": 1},
]


def component(**sizes: int) -> wiring.Component:
    """The component under test."""
    return TableMemory(**sizes)


def _address(rng: random.Random, words: int) -> int:
    if rng.random() < 0.1:
        return rng.choice((words, words + 1, 2 * words, (1 << ADDRESS_BITS) - 1))
    return rng.randrange(words)


def _entry(rng: random.Random) -> dict[str, int]:
    return {
        "addend": rng.choice((-(2**31), 2**31 - 1, rng.randrange(-(2**31), 2**31))),
        "multiplier": rng.getrandbits(16),
        "shift": rng.getrandbits(6),
    }


async def _run(dut: Any, seed: int, read_rate: float, write_rate: float) -> None:
    words, entries = parameters()["words"], parameters()["entries"]
    rng = random.Random(seeded(seed))
    await start(dut)
    memory: list[list[dict[str, int]] | None] = [None] * words
    expected: list[dict[str, int]] | None = None
    for index in range(300):
        enable, valid = int(rng.random() < read_rate), int(rng.random() < write_rate)
        address = _address(rng, words)
        item = {
            "address": _address(rng, words),
            "data": [_entry(rng) for _ in range(entries)],
        }
        dut.read__enable.value = enable
        dut.read__address.value = address
        dut.write__valid.value = valid
        write(dut, "write__payload", table_write_layout(entries), item)
        await ReadOnly()

        def agree(what: str, got: Any, want: Any, index: int = index) -> None:
            check(f"table_memory.{what}", got, want, seed=seed, index=index)

        agree("write.ready", int(dut.write__ready.value), 1)
        bad = item["address"] >= words
        agree("write_error", int(dut.write_error.value), int(valid and bad))
        agree("read_error", int(dut.read_error.value), int(enable and address >= words))
        if expected is not None:
            got = read(dut, "read__data", data.ArrayLayout(TABLE_ENTRY, entries))
            agree("read.data", got, expected)
        if enable:
            expected = memory[address] if address < words else None
        if valid and not bad:
            memory[item["address"]] = item["data"]
        await FallingEdge(dut.clk)


@cocotb.test()
async def busy(dut: Any) -> None:
    """Reads and writes in every cycle."""
    await _run(dut, 1, 1.0, 1.0)


@cocotb.test()
async def sparse(dut: Any) -> None:
    """Data hold while `enable` is low."""
    await _run(dut, 2, 0.3, 0.5)
