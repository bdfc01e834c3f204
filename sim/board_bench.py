"""What the benches of a board have in common: its line, and the host's own code behind it."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.task import resume
from cocotb.triggers import Timer
from cocotbext.uart import UartSink, UartSource

from host.driver import Driver
from host.link import Link
from sim.bench import CLOCK_NS, start
from sim.board import CYCLES_PER_BIT, REQUEST, TIMEOUT_CYCLES
from spec.board_memory import BoardMemory, board_memory
from spec.image import Image, load

__all__ = ["BYTE_CYCLES", "Bench", "Line"]

BYTE_CYCLES = 10 * CYCLES_PER_BIT
_REPLY_CYCLES = 300 * BYTE_CYCLES
"""The longest reply and some more."""
_POLL_CYCLES = 1000
_RUN_CYCLES = 200_000
_WATCHDOG_CYCLES = 5_000


def _seconds(cycles: int) -> float:
    return cycles * CLOCK_NS * 1e-9


class Line:
    """The two wires of a board, as a transport of `host.link`; seconds are those of the simulation.

    Its blocking methods are for code behind `cocotb.task.bridge`, the others for coroutines.
    """

    def __init__(self, dut: Any, cycles_per_bit: float = CYCLES_PER_BIT) -> None:
        baud = 1e9 / (cycles_per_bit * CLOCK_NS)
        self.dut = dut
        self.source, self.sink = UartSource(dut.rx, baud=baud), UartSink(dut.tx, baud=baud)
        for end in (self.source, self.sink):
            end.log.setLevel(logging.WARNING)
        self.flip: int | None = None
        """Bit of the next bytes to be read that is flipped on its way, once."""

    async def send(self, content: bytes) -> None:
        """Send bytes, without a pause between them."""
        self.source.write_nowait(content)
        await self.source.wait()

    async def receive(self, count: int, cycles: int) -> bytes:
        """Up to `count` bytes: fewer when so many cycles are over before they are all there."""
        while self.sink.count() < count and cycles > 0:
            await Timer(min(BYTE_CYCLES, cycles) * CLOCK_NS, unit="ns")
            cycles -= BYTE_CYCLES
        got = bytearray(self.sink.read_nowait(min(count, self.sink.count())))
        if self.flip is not None and self.flip < 8 * len(got):
            got[self.flip // 8] ^= 1 << self.flip % 8
            self.flip = None
        return bytes(got)

    async def hold(self, level: int, cycles: int) -> None:
        """Hold the line; 1 at the end."""
        self.dut.rx.value = level
        await Timer(cycles * CLOCK_NS, unit="ns")
        self.dut.rx.value = 1

    def write(self, content: bytes) -> None:
        """Send bytes (blocking)."""
        resume(self.send)(content)

    def read(self, count: int, timeout_s: float) -> bytes:
        """Up to `count` bytes (blocking)."""
        return resume(self.receive)(count, round(timeout_s / CLOCK_NS * 1e9))


class Bench:
    """A board that has been reset, its line, and the host's driver at the other end."""

    def __init__(self, dut: Any) -> None:
        folder = Path(os.environ[REQUEST])
        arrays = np.load(folder / "arrays.npz")
        self.dut, self.folder = dut, folder
        self.inputs, self.logits = list(arrays["inputs"]), list(arrays["logits"])
        self.other_logits = list(arrays["other_logits"])
        self.request = json.loads((folder / "request.json").read_text())
        self.image = load(folder / "image.safetensors")
        self.line = Line(dut)
        self.link = Link(self.line, reply_s=_seconds(_REPLY_CYCLES), name="the simulated board")
        self.driver = Driver(
            self.link,
            run_s=_seconds(_RUN_CYCLES),
            watchdog_cycles=_WATCHDOG_CYCLES,
            poll_s=_seconds(_POLL_CYCLES),
        )

    @classmethod
    async def begin(cls, dut: Any, watchdog_cycles: int = 3_000_000) -> "Bench":
        """Start the clock and reset."""
        dut.rx.value = 1
        await start(dut, watchdog_cycles)
        return cls(dut)

    def memory(self) -> BoardMemory:
        """Where the first model lies."""
        return board_memory(self.image)

    def content(self) -> bytes:
        """What the memory holds at first."""
        return self.memory().content

    def other(self) -> Image:
        """The second model."""
        return load(self.folder / "other.safetensors")

    async def reset(self, cycles: int = 2) -> None:
        """Press the board's reset; what is on its way in the line's models goes on."""
        self.dut.rst.value = 1
        await Timer(cycles * CLOCK_NS, unit="ns")
        self.dut.rst.value = 0

    async def silence(self) -> None:
        """Let the board's time-out go by."""
        await Timer(2 * TIMEOUT_CYCLES * CLOCK_NS, unit="ns")

    def infer(self, number: int, logits: list | None = None) -> dict[str, int]:
        """Run a picture and compare the answer (blocking); returns the counters."""
        expected = (logits or self.logits)[number]
        answer = self.driver.run(self.inputs[number])
        got = answer.logits
        assert np.array_equal(got, expected), (
            f"board: image {number}: got logits {got.tolist()}, expected {expected.tolist()}"
        )
        cocotb.log.info("image %d: %d cycles", number, answer.counters["cycles"])
        return answer.counters
