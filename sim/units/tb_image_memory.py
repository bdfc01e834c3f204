"""Bench of `rtl_gen.link.image_memory`: cocotbext-axi's master and the link against a bytearray."""

import logging
import random
from typing import Any

import cocotb

from rtl_gen.link.image_memory import BANK_BEATS, ImageMemory
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check
from sim.units.axi_pauses import all_channels, pause
from sim.units.word_port import access
from spec.dram import DRAM_PRESETS

PARAMETERS = [
    {"bus_bits": 64, "size_bytes": 1000, "bank_beats": 32},
    {"bus_bits": 128, "size_bytes": 4096},
    {"bus_bits": 32, "size_bytes": 512},
]
_OKAY, _DECERR = 0, 3
_FULL_BEATS = 16
_BURST_BEATS = (1, 2, 15, 16)


def _content() -> bytes:
    return random.Random(7).randbytes(300)


def component(bus_bits: int, size_bytes: int, bank_beats: int = BANK_BEATS) -> ImageMemory:
    """Build the unit under test."""
    return ImageMemory(
        bus_bits=bus_bits, size_bytes=size_bytes, content=_content(), bank_beats=bank_beats
    )


def _same(got: bytes, expected: bytes, first: int = 0) -> None:
    """Compare bytes from address `first` on; names the first that differs."""
    check("image_memory bytes", len(got), len(expected))
    for at, (one, right) in enumerate(zip(got, expected, strict=True), first):
        check("image_memory", one, right, index=at)


class _Bench:
    def __init__(self, dut: Any) -> None:
        from cocotbext.axi import AxiBus, AxiMaster

        self.dut = dut
        self.bus_bytes, self.size = parameters()["bus_bits"] // 8, parameters()["size_bytes"]
        bus = AxiBus.from_prefix(dut, "bus_")
        self.axi = AxiMaster(bus, dut.clk, dut.rst, max_burst_len=_FULL_BEATS)
        for half in (self.axi.read_if, self.axi.write_if):
            half.log.setLevel(logging.WARNING)
        self.expected = bytearray(_content().ljust(self.size, b"\0"))

    def stall(self, chance: float, seed: int) -> None:
        pause(all_channels(self.axi), chance, seed)

    async def link(self, word: int, value: int | None = None) -> int:
        """One access of the link; returns what it read."""
        got = await access(self.dut, "link", word, value, limit=10)
        if value is not None:
            self.expected[4 * word : 4 * word + 4] = value.to_bytes(4, "little")
        return got

    @classmethod
    async def begin(cls, dut: Any) -> "_Bench":
        """A memory of random content: tests share it, and reset leaves it as it is."""
        await start(dut)
        bench = cls(dut)
        bench.expected[:] = random.Random(seeded(0)).randbytes(bench.size)
        await bench.axi.write(0, bench.expected)
        return bench

    async def check_all(self) -> None:
        """The whole memory through both accesses."""
        reply = await self.axi.read(0, self.size)
        check("image_memory response", int(reply.resp), _OKAY)
        _same(reply.data, self.expected)
        await cycles(self.dut)
        words = b"".join(
            [(await self.link(at)).to_bytes(4, "little") for at in range(self.size // 4)]
        )
        _same(words, self.expected)


@cocotb.test()
async def content(dut: Any) -> None:
    """What it holds at first, and what it holds after a reset: content and everything written."""
    await start(dut)
    bench = _Bench(dut)
    await bench.check_all()
    rng = random.Random(seeded(1))
    for word in range(0, bench.size // 4, 3):
        await bench.link(word, rng.getrandbits(32))
    await bench.check_all()
    dut.rst.value = 1
    await cycles(dut, 3)
    dut.rst.value = 0
    await cycles(dut)
    await bench.check_all()


@cocotb.test()
async def accesses(dut: Any) -> None:
    """Reads and writes of any length and alignment, many in flight, with stalls, the link too."""
    bench = await _Bench.begin(dut)
    rng = random.Random(seeded(2))
    half = bench.size // 2 // 4 * 4

    async def link() -> None:
        # In its own half, and at its own pace
        await cycles(bench.dut)
        for _ in range(150):
            word = rng.randrange(half // 4, bench.size // 4)
            if rng.random() < 0.5:
                await bench.link(word, rng.getrandbits(32))
            else:
                at = 4 * word
                expected = int.from_bytes(bench.expected[at : at + 4], "little")
                check("image_memory by the link", await bench.link(word), expected, index=word)
            await cycles(bench.dut, rng.randrange(1, 12))

    for chance in (0.0, 0.5):
        bench.stall(chance, 3)
        other = cocotb.start_soon(link())
        for index in range(30):
            reads = []
            at = rng.randrange(half)
            text = rng.randbytes(rng.randint(1, half - at))
            reply = await bench.axi.write(at, text)
            check("image_memory response", int(reply.resp), _OKAY, index=index)
            bench.expected[at : at + len(text)] = text
            for _ in range(6):
                at = rng.randrange(half)
                count = rng.randint(1, half - at)
                reads.append((at, count, bench.axi.init_read(at, count)))
            for at, count, event in reads:
                await event.wait()
                got, expected = event.data.data, bench.expected[at : at + count]
                _same(got, expected, at)
        await other
    bench.stall(0.0, 3)
    await bench.check_all()


@cocotb.test()
async def beyond(dut: Any) -> None:
    """Bursts that reach beyond the memory: DECERR on all beats or on B, and nothing is written."""
    bench = await _Bench.begin(dut)
    wide = bench.bus_bytes
    for first, beats in (
        (bench.size, 1),
        (bench.size - wide, 2),
        (bench.size - wide, 1),
        (bench.size - 4 * wide, 4),
        (bench.size - 4 * wide, 5),
        (0x8000_0000, 1),
        (0xFFFF_FF00, 2),
    ):
        answer = _DECERR if first + beats * wide > bench.size else _OKAY
        reply = await bench.axi.read(first, beats * wide)
        check("image_memory read response", int(reply.resp), answer, of=(first, beats))
        text = bytes([0xA5]) * (beats * wide)
        reply = await bench.axi.write(first, text)
        check("image_memory write response", int(reply.resp), answer, of=(first, beats))
        if answer == _OKAY:
            bench.expected[first : first + len(text)] = text
    await bench.check_all()


async def _count(dut: Any, begins: Any, ends: Any) -> int:
    """Cycles from the one in which `begins()` is true to the one in which `ends()` is."""
    while not begins():
        await cycles(dut)
    count = 0
    while not ends():
        await cycles(dut)
        count += 1
    return count


@cocotb.test()
async def pace(dut: Any) -> None:
    """Latency as `spec.dram` says, and one beat a cycle over bursts, in both directions."""
    bench = await _Bench.begin(dut)
    timing = DRAM_PRESETS["blockram"]
    check("image_memory.LATENCY", timing.latency, ImageMemory.LATENCY)

    def both(channel: str) -> Any:
        valid, ready = getattr(dut, f"bus__{channel}valid"), getattr(dut, f"bus__{channel}ready")
        return lambda: int(valid.value) and int(ready.value)

    # A burst is accepted in cycle t; its first beat is on the bus in t + latency + 1
    reads = cocotb.start_soon(_count(dut, both("ar"), both("r")))
    reply = bench.axi.init_read(0, 16 * bench.bus_bytes)
    check("image_memory read latency", await reads, timing.latency + 1)
    await reply.wait()
    last = dut.bus__wlast

    def ended() -> bool:
        return bool(both("w")() and int(last.value))

    writes = cocotb.start_soon(_count(dut, ended, both("b")))
    reply = bench.axi.init_write(0, bench.expected[: 16 * bench.bus_bytes])
    check("image_memory write latency", await writes, timing.latency + 1)
    await reply.wait()

    beats = bench.size // bench.bus_bytes
    for channel, event in (
        ("r", lambda: bench.axi.init_read(0, beats * bench.bus_bytes)),
        ("w", lambda: bench.axi.init_write(0, bench.expected[: beats * bench.bus_bytes])),
    ):
        moved = both(channel)
        event = event()
        while not moved():
            await cycles(dut)
        gaps = 0
        for _ in range(beats):
            gaps += not moved()
            await cycles(dut)
        check(f"image_memory pauses on {channel}", gaps, 0)
        await event.wait()
    await bench.check_all()
