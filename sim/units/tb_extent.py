"""Bench of `rtl_gen.dma.extent`: sizes and every bound, to the byte."""

import random
from typing import Any

import cocotb

from rtl_gen.dma.extent import EXTENT, EXTENT_RESULT, Extent
from sim.bench import parameters, seeded, start
from sim.streams import Sink, Source, check
from sim.units.dma_cases import set_windows
from spec.isa import Window

PARAMETERS = [
    {"lanes": 8, "bus_bits": 64},
    {"lanes": 64, "bus_bits": 128, "writable": True},
    {"lanes": 64, "bus_bits": 512},
]

_WINDOWS = [
    (0x1000, 0x400),
    (0x8000_0000, 0x0400_0000),
    (0xFFFF_F000, 0x1000),
    (0xFFFF_F000, 0xFFFF_FFFF),
    (0x40, 0xFFFF_FFC0),
]


def component(lanes: int, bus_bits: int, writable: bool = False) -> Extent:
    """Build the unit under test."""
    return Extent(lanes=lanes, bus_bits=bus_bits, writable=writable)


def _expected(windows: list[tuple[int, int]], request: dict[str, int]) -> dict[str, Any] | None:
    """The transfer, or None when it is bad."""
    lanes, bus_bytes = parameters()["lanes"], parameters()["bus_bits"] // 8
    if request["window"] >= len(windows):
        return None
    if parameters().get("writable") and request["window"] < Window.SCRATCH.value:
        return None
    base, limit = windows[request["window"]]
    size = request["rows"] * request["words"] * lanes
    end = request["offset"] + size
    if base % 64 or request["offset"] % bus_bytes or end > limit or base + end > 1 << 32:
        return None
    return {"address": base + request["offset"], "beats": size // bus_bytes}


async def _check(dut: Any, windows: list[tuple[int, int]], requests: list[dict[str, int]]) -> int:
    set_windows(dut, windows)
    source = Source(dut, "i", EXTENT)
    sink = Sink(dut, "o", EXTENT_RESULT, stall=0.2)
    source.put(*requests)
    good = 0
    for index, request in enumerate(requests):
        (got,) = await sink.receive(1)
        expected = _expected(windows, request)
        check("extent bad", got["bad"], int(expected is None), index=index, of=request)
        if expected is not None:
            check("extent", got["transfer"], expected, index=index, of=request)
            good += 1
    return good


@cocotb.test()
async def bounds(dut: Any) -> None:
    """Around every window's limit and the end of memory, to the byte."""
    await start(dut)
    lanes, bus_bytes = parameters()["lanes"], parameters()["bus_bits"] // 8
    requests = []
    for window in range(8):
        limit = _WINDOWS[window][1] if window < len(_WINDOWS) else 0x1000
        for rows, words in ((1, 1), (3, 2), (7, 5)):
            size = rows * words * lanes
            offsets = {0, limit - size, 0x1000 - size}
            for offset in offsets | {o + d for o in offsets for d in (1, -1, bus_bytes)}:
                if 0 <= offset < 1 << 32:
                    requests.append(
                        {"window": window, "offset": offset, "rows": rows, "words": words}
                    )
    good = await _check(dut, _WINDOWS, requests)
    assert good >= 6, f"only {good} good requests"


@cocotb.test()
async def sizes(dut: Any) -> None:
    """Random and extreme sizes in windows of all memory."""
    await start(dut)
    rng = random.Random(seeded(1))
    pairs = [(4095, 255), (1, 255), (65543, 1), (4095, 1), (9, 8)]
    pairs += [(rng.randint(1, 4095), rng.randint(1, 255)) for _ in range(60)]
    bus_bytes = parameters()["bus_bits"] // 8
    requests = [
        {
            "window": rng.randrange(5),
            "offset": rng.randrange(1 << 20) * bus_bytes,
            "rows": rows,
            "words": words,
        }
        for rows, words in pairs
    ]
    good = await _check(dut, [(0, 0xFFFF_FFFF)] * 5, requests)
    assert good >= len(requests) // 4


@cocotb.test()
async def unaligned_base(dut: Any) -> None:
    """A base that is not a multiple of 64 is bad."""
    await start(dut)
    request = {"window": Window.SCRATCH.value, "offset": 0, "rows": 1, "words": 1}
    source, sink = Source(dut, "i", EXTENT), Sink(dut, "o", EXTENT_RESULT)
    for base in (1, 16, 32, 64, 65):
        set_windows(dut, [(base, 4096)] * 5)
        source.put(request)
        (got,) = await sink.receive(1)
        check("extent bad", got["bad"], int(base % 64 != 0), of=base)
