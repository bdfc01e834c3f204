"""Bench of `rtl_gen.host.counters`."""

import random
from typing import Any

import cocotb

from rtl_gen.host.counters import ROW_MACS, Counters, events_layout
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check, read, width_of, write
from spec.registers import COUNTER_BITS, COUNTERS

PARAMETERS = [
    {"banks": 4, "lanes": 8, "bus_bits": 64, "zero_skip": True, "cleared": 8},
    {"banks": 8, "lanes": 64, "bus_bits": 128, "bits": 12},
]


def component(**sizes: int) -> Counters:
    """Build the unit under test."""
    return Counters(**sizes)


@cocotb.test()
async def random_events(dut: Any) -> None:
    """Random events, with every counter's largest one, and clears."""
    await start(dut)
    rng = random.Random(seeded(1))
    p = parameters()
    values_shape = component(**p).values.shape()
    bits = p.pop("bits", COUNTER_BITS)
    layout = events_layout(**p)
    largest = {
        name: {"macs_done": p["banks"] * p["lanes"], "row_words_read": p["banks"]}.get(name, 1)
        for name in COUNTERS
    }
    if p.get("zero_skip"):
        largest |= {"macs_skipped_zero": ROW_MACS, "idle_banks": p["banks"]}
        largest["values_cleared"] = p["cleared"]
    largest |= {name: p["bus_bits"] // 8 for name in COUNTERS if name.endswith("_bytes")}
    assert width_of(layout) >= len(COUNTERS)
    expected = dict.fromkeys(COUNTERS, 0)
    seen = dict.fromkeys(COUNTERS, 0)
    for index in range(300):
        events = {name: rng.choice((0, largest[name])) for name in COUNTERS}
        clear = rng.random() < 0.02
        write(dut, "events", layout, events)
        dut.clear.value = int(clear)
        await cycles(dut)
        for name in COUNTERS:
            expected[name] = 0 if clear else (expected[name] + seen[name]) % (1 << bits)
            seen[name] = 0 if clear else events[name]
        check("counters", read(dut, "values", values_shape), list(expected.values()), index=index)
