"""Bench of `rtl_gen.link.register_port` against cocotbext-axi's AXI4-Lite memory."""

import logging
import random
from typing import Any

import cocotb

from rtl_gen.link.register_port import POLL_CYCLES, RegisterPort
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check
from sim.units.axi_pauses import all_channels, pause
from sim.units.word_port import access
from spec.link import BOARD_REGISTERS, LINK_MAGIC, LINK_VERSION
from spec.registers import REGISTERS

PARAMETERS = [{"memory_bytes": 8192, "clock_hz": 50_000_000}]
_BYTES = 4096


def component(memory_bytes: int, clock_hz: int) -> RegisterPort:
    """Build the unit under test."""
    return RegisterPort(memory_bytes=memory_bytes, clock_hz=clock_hz)


class _Bench:
    def __init__(self, dut: Any) -> None:
        from cocotbext.axi import AxiLiteBus, AxiLiteRam

        self.dut = dut
        self.ram = AxiLiteRam(AxiLiteBus.from_prefix(dut, "bus_"), dut.clk, dut.rst, size=_BYTES)
        for half in (self.ram.read_if, self.ram.write_if):
            half.log.setLevel(logging.WARNING)

    def stall(self, chance: float) -> None:
        pause(all_channels(self.ram), chance, 1)

    async def access(self, address: int, value: int | None = None) -> int:
        return await access(self.dut, "port", address // 4, value, limit=200)


@cocotb.test()
async def accesses(dut: Any) -> None:
    """The machine's half goes to the bus and the board's does not, with and without stalls."""
    await start(dut)
    bench = _Bench(dut)
    rng = random.Random(seeded(2))
    expected = bytearray(bench.ram.read(0, _BYTES))
    board = {
        BOARD_REGISTERS["LINK_ID"]: LINK_MAGIC,
        BOARD_REGISTERS["LINK_VERSION"]: LINK_VERSION,
        BOARD_REGISTERS["MEMORY_BYTES"]: parameters()["memory_bytes"],
        BOARD_REGISTERS["CLOCK_HZ"]: parameters()["clock_hz"],
    }
    for chance in (0.0, 0.6):
        bench.stall(chance)
        for index in range(150):
            address = 4 * rng.randrange(_BYTES // 4)
            if index % 4 == 0:
                address = rng.choice(list(BOARD_REGISTERS.values()))
            broken = rng.getrandbits(32)
            dut.broken_frames.value = broken
            if rng.random() < 0.5:
                value = rng.getrandbits(32)
                await bench.access(address, value)
                if address < min(BOARD_REGISTERS.values()):
                    expected[address : address + 4] = value.to_bytes(4, "little")
                continue
            right = int.from_bytes(expected[address : address + 4], "little")
            if address >= min(BOARD_REGISTERS.values()):
                right = board.get(address, 0)
            if address == BOARD_REGISTERS["BROKEN_FRAMES"]:
                right = broken
            check("register_port", await bench.access(address), right, index=index, of=address)
            await cycles(dut, rng.randrange(3))
    check("register_port writes", bench.ram.read(0, _BYTES).hex(), expected.hex())


@cocotb.test()
async def status(dut: Any) -> None:
    """STATUS is read again and again while nobody asks."""
    await start(dut)
    bench = _Bench(dut)
    for value in (1, 2, 4, 8, 0xFFFF_FFF0, 15):
        bench.ram.write(REGISTERS["STATUS"], value.to_bytes(4, "little"))
        await cycles(dut, POLL_CYCLES + 20)
        check("register_port.status", int(dut.status.value), value & 15)
    check("register_port.done without a request", int(dut.port__done.value), 0)
