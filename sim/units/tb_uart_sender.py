"""Bench of `rtl_gen.link.uart_sender` against cocotbext-uart's receiver."""

import logging
import random
from typing import Any

import cocotb
from cocotbext.uart import UartSink

from rtl_gen.link.uart_sender import UartSender
from sim.bench import CLOCK_NS, cycles, parameters, seeded, start
from sim.streams import Source, check

PARAMETERS = [{"cycles_per_bit": 4}, {"cycles_per_bit": 17}]
_FRAME_BITS = 10


def component(cycles_per_bit: int) -> UartSender:
    """Build the unit under test."""
    return UartSender(cycles_per_bit=cycles_per_bit)


def _sink(dut: Any) -> UartSink:
    sink = UartSink(dut.tx, baud=1e9 / (parameters()["cycles_per_bit"] * CLOCK_NS))
    sink.log.setLevel(logging.WARNING)
    return sink


async def _idle(dut: Any) -> int:
    """Wait until nothing is on its way; returns the cycles it took."""
    waited = 0
    await cycles(dut)
    while int(dut.active.value):
        await cycles(dut)
        waited += 1
    check("uart_sender.tx", int(dut.tx.value), 1)
    return waited


@cocotb.test()
async def all_bytes(dut: Any) -> None:
    """Each byte, without a pause, at the line's full rate."""
    await start(dut)
    check("uart_sender.tx after reset", int(dut.tx.value), 1)
    sink, source = _sink(dut), Source(dut, "i", 8)
    content = list(range(256))
    source.put(*content)
    await cycles(dut)
    waited = await _idle(dut)
    expected = len(content) * _FRAME_BITS * parameters()["cycles_per_bit"]
    check("uart_sender cycles", abs(waited - expected) <= 2, True, of=(waited, expected))
    await cycles(dut, _FRAME_BITS * parameters()["cycles_per_bit"])
    check("uart_sender", list(sink.read_nowait()), content)


@cocotb.test()
async def pauses(dut: Any) -> None:
    """Random bytes with random pauses."""
    await start(dut)
    rng, sink = random.Random(seeded(1)), _sink(dut)
    source = Source(dut, "i", 8, stall=0.98)
    content = [rng.randrange(256) for _ in range(100)]
    await source.send(content)
    await _idle(dut)
    await cycles(dut, 2 * _FRAME_BITS * parameters()["cycles_per_bit"])
    check("uart_sender", list(sink.read_nowait()), content)


@cocotb.test()
async def reset_in_a_byte(dut: Any) -> None:
    """Reset in the middle of a byte: the line is idle at once, and the next byte is right."""
    await start(dut)
    source = Source(dut, "i", 8)
    source.put(0x00)
    await cycles(dut, 3 * parameters()["cycles_per_bit"])
    check("uart_sender.tx", int(dut.tx.value), 0)
    dut.rst.value = 1
    await cycles(dut)
    dut.rst.value = 0
    check("uart_sender.tx in reset", int(dut.tx.value), 1)
    await cycles(dut, 4)
    sink = _sink(dut)
    source.put(0xA5)
    await cycles(dut, 2)
    await _idle(dut)
    await cycles(dut, 2 * _FRAME_BITS * parameters()["cycles_per_bit"])
    check("uart_sender", list(sink.read_nowait()), [0xA5])
