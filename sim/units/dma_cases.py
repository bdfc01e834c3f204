"""What the benches of fetcher, loader and storer share: a DRAM behind the streams, instructions."""

import random
from typing import Any

from rtl_gen.dma.axi import TRANSFER, read_data_layout
from rtl_gen.interfaces import ERROR, WINDOWS
from sim.bench import cycles, seeded
from sim.streams import Sink, Source, check, pack, read, unpack, write
from spec.isa import BODIES, HEADER, Opcode
from spec.registers import Error

__all__ = ["Dram", "encode", "expect_error", "reset", "set_windows"]


class Dram:
    """Serves a unit's `request` stream with its `data` stream out of `memory`."""

    def __init__(
        self, dut: Any, memory: bytes, *, bus_bits: int, seed: int = 0, stall: float = 0.0
    ) -> None:
        import cocotb

        self.dut, self.memory = dut, memory
        self.bus_bytes = bus_bits // 8
        self.latency = random.Random(seeded(seed))
        self.request = Sink(dut, "request", TRANSFER, seed=seed, stall=stall)
        self.data = Source(dut, "data", read_data_layout(bus_bits), seed=seed, stall=stall)
        self.transfers: list[tuple[int, int]] = []
        """(address, beats) of every request."""
        cocotb.start_soon(self._serve())

    async def _serve(self) -> None:
        while True:
            (request,) = await self.request.receive(1, watchdog_cycles=1_000_000)
            address, beats = request["address"], request["beats"]
            assert beats, "a transfer of no beats"
            self.transfers.append((address, beats))
            await cycles(self.dut, self.latency.randrange(8))
            for beat in range(beats):
                at = address + beat * self.bus_bytes
                word = self.memory[at : at + self.bus_bytes]
                assert len(word) == self.bus_bytes, f"read beyond the memory at {at:#x}"
                self.data.put(
                    {"data": int.from_bytes(word, "little"), "last": int(beat == beats - 1)}
                )


def encode(opcode: Opcode, header: dict[str, Any] | None = None, **body: Any) -> int:
    """An instruction word."""
    bits = pack(HEADER, {"opcode": opcode, **(header or {})})
    return bits | pack(BODIES[opcode], body) << HEADER.size


def set_windows(dut: Any, windows: list[tuple[int, int]]) -> None:
    """Drive the `windows` port with (base, limit) pairs in the order of `Window`."""
    write(dut, "windows", WINDOWS, [{"base": base, "limit": limit} for base, limit in windows])


async def reset(dut: Any) -> None:
    """Reset the unit between two tests of errors that hold."""
    dut.rst.value = 1
    await cycles(dut, 2)
    dut.rst.value = 0
    await cycles(dut)


async def expect_error(dut: Any, unit: str, code: Error, pc: int, limit: int = 2000) -> None:
    """Wait for `error` and check its code and pc."""
    for _ in range(limit):
        if unpack(ERROR, int(dut.error.value))["valid"]:
            break
        await cycles(dut)
    got = read(dut, "error", ERROR)
    check(unit, got, {"valid": 1, "code": code, "pc": pc}, of=code.name)
