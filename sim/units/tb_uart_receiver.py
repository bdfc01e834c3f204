"""Bench of `rtl_gen.link.uart_receiver` against cocotbext-uart's sender."""

import logging
import random
from typing import Any

import cocotb
from cocotb.triggers import Timer
from cocotbext.uart import UartSource

from rtl_gen.link.interfaces import RECEIVED
from rtl_gen.link.uart_receiver import UartReceiver
from sim.bench import CLOCK_NS, cycles, parameters, seeded, start
from sim.streams import check, read

PARAMETERS = [{"cycles_per_bit": 4}, {"cycles_per_bit": 17}, {"cycles_per_bit": 8}]
_FRAME_BITS = 10


def component(cycles_per_bit: int) -> UartReceiver:
    """Build the unit under test."""
    return UartReceiver(cycles_per_bit=cycles_per_bit)


class _Bench:
    def __init__(self, dut: Any) -> None:
        self.dut, self.bit_cycles = dut, parameters()["cycles_per_bit"]
        self.got: list[tuple[int, int]] = []
        """Byte and framing flag of each pulse."""
        cocotb.start_soon(self._watch())

    @classmethod
    async def begin(cls, dut: Any) -> "_Bench":
        await start(dut)
        dut.rx.value = 1
        await cycles(dut, 20 * parameters()["cycles_per_bit"])
        return cls(dut)

    def source(self, speed: float = 1.0) -> UartSource:
        source = UartSource(self.dut.rx, baud=1e9 / (self.bit_cycles * CLOCK_NS) * speed)
        source.log.setLevel(logging.WARNING)
        return source

    async def _watch(self) -> None:
        while True:
            if int(self.dut.o_valid.value):
                byte = read(self.dut, "o", RECEIVED)
                self.got.append((byte["byte"], byte["framing"]))
            await cycles(self.dut)

    async def hold(self, level: int, count: int) -> None:
        self.dut.rx.value = level
        await cycles(self.dut, count)

    async def bits(self, levels: str) -> None:
        for level in levels:
            await self.hold(int(level), self.bit_cycles)

    async def ends(self, expected: list[tuple[int, int]]) -> None:
        await self.hold(1, 2 * _FRAME_BITS * self.bit_cycles)
        check("uart_receiver", self.got, expected)
        check("uart_receiver.active", int(self.dut.active.value), 0)
        self.got.clear()


@cocotb.test()
async def all_bytes(dut: Any) -> None:
    """Each byte, without a pause and with random ones."""
    bench = await _Bench.begin(dut)
    source, rng = bench.source(), random.Random(seeded(1))
    content = list(range(256)) + [rng.randrange(256) for _ in range(100)]
    source.write_nowait(content)
    await source.wait()
    await bench.ends([(byte, 0) for byte in content])
    for byte in content[200:]:
        source.write_nowait([byte])
        await source.wait()
        await Timer(rng.randint(1, 3 * bench.bit_cycles) * CLOCK_NS, unit="ns")
    await bench.ends([(byte, 0) for byte in content[200:]])


@cocotb.test()
async def other_clocks(dut: Any) -> None:
    """A sender that is 4 % slow or fast, where a bit has cycles enough for that."""
    bench = await _Bench.begin(dut)
    rng = random.Random(seeded(2))
    for speed in (0.96, 1.04) if bench.bit_cycles >= 16 else (1.0,):
        source = bench.source(speed)
        content = [0x00, 0xFF, 0x55, 0xAA] + [rng.randrange(256) for _ in range(100)]
        source.write_nowait(content)
        await source.wait()
        await bench.ends([(byte, 0) for byte in content])


@cocotb.test()
async def no_stop_bit(dut: Any) -> None:
    """A byte without its stop bit is flagged; a break is one, and ends when the line rises."""
    bench = await _Bench.begin(dut)
    await bench.bits("0" + "10100101" + "0")
    await bench.ends([(0xA5, 1)])
    await bench.hold(0, 100 * bench.bit_cycles)
    check("uart_receiver.active in a break", int(dut.active.value), 1)
    await bench.ends([(0, 1)])
    source = bench.source()
    source.write_nowait([0x53])
    await source.wait()
    await bench.ends([(0x53, 0)])


@cocotb.test()
async def pulses(dut: Any) -> None:
    """A pulse of one cycle, on the idle line or anywhere in a byte, changes nothing."""
    bench = await _Bench.begin(dut)
    await bench.hold(0, 1)
    await bench.ends([])
    if bench.bit_cycles < 8:
        return
    rng = random.Random(seeded(3))
    for _ in range(60):
        byte = rng.randrange(256)
        levels = [0, *((byte >> bit) & 1 for bit in range(8)), 1]
        samples = [level for level in levels for _ in range(bench.bit_cycles)]
        # Not at the edges: a pulse there moves the edge that the receiver counts from
        spoiled = rng.randrange(2, len(samples))
        samples[spoiled] ^= 1
        for level in samples:
            await bench.hold(level, 1)
        await bench.ends([(byte, 0)])


@cocotb.test()
async def reset_in_a_byte(dut: Any) -> None:
    """Reset in the middle of a byte: the rest of it may look like one, the next is right."""
    bench = await _Bench.begin(dut)
    rng = random.Random(seeded(4))
    for _ in range(20):
        source = bench.source()
        source.write_nowait([rng.randrange(256)])
        await cycles(dut, rng.randrange(1, _FRAME_BITS * bench.bit_cycles))
        dut.rst.value = 1
        await cycles(dut, 2)
        dut.rst.value = 0
        await source.wait()
        await bench.hold(1, 2 * _FRAME_BITS * bench.bit_cycles)
        bench.got.clear()
        byte = rng.randrange(256)
        source.write_nowait([byte])
        await source.wait()
        await bench.ends([(byte, 0)])
