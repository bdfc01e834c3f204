"""Token memory against a list of words, cycle by cycle: arbitration, masks, errors, trace.

A word that this test has not written yet is unknown: reset does not clear a memory.
"""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring
from cocotb.triggers import FallingEdge, ReadOnly

from rtl_gen.buffers.token_memory import TokenMemory, token_trace_layout
from rtl_gen.interfaces import ADDRESS_BITS, token_write_layout
from sim.bench import parameters, seeded, start
from sim.streams import check, read, write
from sim.units.renamed import Renamed

PARAMETERS = [
    {"lanes": 8, "words": 64, "readers": 4, "writers": 3},
    {"lanes": 4, "words": 11, "readers": 2, "writers": 1},
    {"lanes": 1, "words": 1, "readers": 1, "writers": 2},
]


def component(**sizes: int) -> wiring.Component:
    """The component under test."""
    return Renamed(TokenMemory(**sizes), {"trace": "written"})


def _address(rng: random.Random, words: int) -> int:
    if rng.random() < 0.1:
        return rng.choice((words, words + 1, 2 * words, (1 << ADDRESS_BITS) - 1))
    return rng.randrange(words)


def _merge(old: int | None, new: int, mask: int, lanes: int) -> int | None:
    if old is None:
        return new if mask == (1 << lanes) - 1 else None
    for lane in range(lanes):
        if mask >> lane & 1:
            byte = 255 << lane * 8
            old = old & ~byte | new & byte
    return old


async def _run(dut: Any, seed: int, read_rate: float, write_rate: float, steps: int = 400) -> None:
    lanes, words = parameters()["lanes"], parameters()["words"]
    readers, writers = parameters()["readers"], parameters()["writers"]
    rng = random.Random(seeded(seed))
    await start(dut)
    memory: list[int | None] = [None] * words
    requests: list[int | None] = [None] * readers
    items: list[dict[str, int] | None] = [None] * writers
    answered: tuple[int, int | None] | None = None
    for index in range(steps):
        for i in range(readers):
            if requests[i] is None and rng.random() < read_rate:
                requests[i] = _address(rng, words)
            getattr(dut, f"read__{i}__request__valid").value = int(requests[i] is not None)
            if requests[i] is not None:
                getattr(dut, f"read__{i}__request__payload").value = requests[i]
        for i in range(writers):
            if items[i] is None and rng.random() < write_rate:
                items[i] = {
                    "address": _address(rng, words),
                    "data": rng.getrandbits(lanes * 8),
                    "mask": rng.choice((0, (1 << lanes) - 1, rng.getrandbits(lanes))),
                    "pc": rng.getrandbits(16),
                }
            getattr(dut, f"write__{i}__valid").value = int(items[i] is not None)
            if items[i] is not None:
                write(dut, f"write__{i}__payload", token_write_layout(lanes), items[i])
        await ReadOnly()

        def agree(what: str, got: Any, want: Any, index: int = index) -> None:
            check(f"token_memory.{what}", got, want, seed=seed, index=index)

        for i in range(readers):
            valid = int(answered is not None and answered[0] == i)
            agree(f"read[{i}].valid", int(getattr(dut, f"read__{i}__valid").value), valid)
            if valid and answered is not None and answered[1] is not None:
                agree(f"read[{i}].data", int(getattr(dut, f"read__{i}__data").value), answered[1])
        asking = [i for i in range(readers) if requests[i] is not None]
        for i in asking:
            ready = int(getattr(dut, f"read__{i}__request__ready").value)
            agree(f"read[{i}].request.ready", ready, int(i == asking[0]))
        agree("denied", int(dut.denied.value), sum(1 << i for i in asking[1:]))
        address = requests[asking[0]] if asking else None
        beyond = address is not None and address >= words
        agree("read_error", int(dut.read_error.value), 1 << asking[0] if beyond else 0)

        writing = [i for i in range(writers) if items[i] is not None]
        for i in writing:
            ready = int(getattr(dut, f"write__{i}__ready").value)
            agree(f"write[{i}].ready", ready, int(i == writing[0]))
        item = items[writing[0]] if writing else None
        bad = item is not None and item["address"] >= words
        agree("write_error", int(dut.write_error.value), 1 << writing[0] if bad else 0)
        trace = read(dut, "written", token_trace_layout(lanes))
        agree("trace.valid", trace.pop("valid"), int(item is not None and not bad))
        if item is not None and not bad:
            agree("trace", trace, item)

        answered = None
        if address is not None:
            answered = (asking[0], None if beyond else memory[address])
            requests[asking[0]] = None
        if item is not None:
            if not bad:
                at = item["address"]
                memory[at] = _merge(memory[at], item["data"], item["mask"], lanes)
            items[writing[0]] = None
        await FallingEdge(dut.clk)


@cocotb.test()
async def busy(dut: Any) -> None:
    """Every client in every cycle: only the first ones are served."""
    await _run(dut, 1, 1.0, 1.0)


@cocotb.test()
async def sparse(dut: Any) -> None:
    """All clients get their turn."""
    await _run(dut, 2, 0.25, 0.3)
