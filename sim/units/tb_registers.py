"""Bench of `rtl_gen.host.registers`, driven by cocotbext-axi's AXI4-Lite master."""

import random
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly

from rtl_gen.host.registers import DEFAULT_WATCHDOG_CYCLES, Registers
from rtl_gen.interfaces import WINDOWS
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check, read
from sim.units.axi_pauses import all_channels, pause
from spec.isa import Window
from spec.registers import (
    COUNTER_BITS,
    COUNTERS,
    MAGIC,
    REGISTERS,
    VERSION,
    Control,
    Error,
    Status,
    counter_address,
    window_address,
)

PARAMETERS = [{"config_digest": 0x0123_4567_89AB_CDEF}]


def component(config_digest: int) -> Registers:
    """Build the unit under test."""
    return Registers(config_digest=config_digest)


class _Bench:
    def __init__(self, dut: Any) -> None:
        from cocotbext.axi import AxiLiteBus, AxiLiteMaster

        self.dut = dut
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "bus_"), dut.clk, dut.rst)
        self.pulses = {"start": 0, "clear": 0}
        cocotb.start_soon(self._watch())

    def stall(self, seed: int) -> None:
        pause(all_channels(self.master), 0.5, seed)

    async def _watch(self) -> None:
        while True:
            await ReadOnly()
            for name in self.pulses:
                self.pulses[name] += int(getattr(self.dut, name).value)
            await cycles(self.dut)

    async def read(self, address: int) -> int:
        return await self.master.read_dword(address)

    async def write(self, address: int, value: int) -> None:
        await self.master.write_dword(address, value)

    async def control(self, value: Control) -> dict[str, int]:
        """Write CONTROL; returns the pulses it made."""
        before = dict(self.pulses)
        await self.write(REGISTERS["CONTROL"], value.value)
        await cycles(self.dut, 3)
        return {name: self.pulses[name] - before[name] for name in before}


@cocotb.test()
async def constants_and_state(dut: Any) -> None:
    """Read-only registers, the state inputs and unknown addresses."""
    await start(dut)
    bench = _Bench(dut)
    digest = parameters()["config_digest"]
    check("ID", await bench.read(REGISTERS["ID"]), MAGIC)
    check("VERSION", await bench.read(REGISTERS["VERSION"]), VERSION)
    check("CONFIG_DIGEST_LOW", await bench.read(REGISTERS["CONFIG_DIGEST_LOW"]), digest & 2**32 - 1)
    check("CONFIG_DIGEST_HIGH", await bench.read(REGISTERS["CONFIG_DIGEST_HIGH"]), digest >> 32)
    check("WATCHDOG", await bench.read(REGISTERS["WATCHDOG"]), DEFAULT_WATCHDOG_CYCLES)
    for port, flag in (
        ("busy", Status.BUSY),
        ("done", Status.DONE),
        ("error_valid", Status.ERROR),
        ("draining", Status.DRAINING),
    ):
        getattr(dut, port).value = 1
        await cycles(dut)
        check("STATUS", await bench.read(REGISTERS["STATUS"]), flag.value)
        getattr(dut, port).value = 0
    dut.error_code.value = Error.WATCHDOG.value
    dut.error_pc.value = 0xBEEF
    dut.live_tokens.value = 197
    await cycles(dut)
    check("ERROR_CODE", await bench.read(REGISTERS["ERROR_CODE"]), Error.WATCHDOG.value)
    check("ERROR_PC", await bench.read(REGISTERS["ERROR_PC"]), 0xBEEF)
    check("LIVE_TOKENS", await bench.read(REGISTERS["LIVE_TOKENS"]), 197)
    for address in (0x02C, 0x03C, 0x068, counter_address(COUNTERS[-1]) + 8, 0xFFC):
        await bench.write(address, 0xFFFFFFFF)
        check(f"unknown register {address:#x}", await bench.read(address), 0)
    await bench.write(REGISTERS["ID"], 0)
    check("ID after a write", await bench.read(REGISTERS["ID"]), MAGIC)
    check("pulses", bench.pulses, {"start": 0, "clear": 0})


@cocotb.test()
async def windows(dut: Any) -> None:
    """Windows, watchdog and interrupt enable: written, read back, byte by byte, with stalls."""
    await start(dut)
    bench = _Bench(dut)
    bench.stall(1)
    rng = random.Random(seeded(1))
    expected = [{"base": 0, "limit": 0} for _ in Window]
    check("windows after reset", read(dut, "windows", WINDOWS), expected)
    for _ in range(40):
        window = rng.choice(list(Window))
        key = rng.choice(("base", "limit"))
        address = window_address(window)[key == "limit"]
        first = rng.randrange(4)
        count = rng.randint(1, 4 - first)
        text = rng.randbytes(count)
        await bench.master.write(address + first, text)
        old = bytearray(expected[window.value][key].to_bytes(4, "little"))
        old[first : first + count] = text
        expected[window.value][key] = int.from_bytes(old, "little")
        check("windows", read(dut, "windows", WINDOWS), expected)
        check("window register", await bench.read(address), expected[window.value][key])
    await bench.write(REGISTERS["WATCHDOG"], 1234)
    check("watchdog", int(dut.watchdog.value), 1234)


@cocotb.test()
async def control(dut: Any) -> None:
    """START acts only when idle, CLEAR always and first."""
    await start(dut)
    bench = _Bench(dut)
    check("START", await bench.control(Control.START), {"start": 1, "clear": 0})
    check("CLEAR", await bench.control(Control.CLEAR), {"start": 0, "clear": 1})
    both = Control.START | Control.CLEAR
    check("START and CLEAR", await bench.control(both), {"start": 0, "clear": 1})
    check("other bits", await bench.control(Control(0)), {"start": 0, "clear": 0})
    for port in ("busy", "done", "error_valid", "draining"):
        getattr(dut, port).value = 1
        await cycles(dut)
        check(f"START, {port}", await bench.control(Control.START), {"start": 0, "clear": 0})
        check(f"CLEAR, {port}", await bench.control(Control.CLEAR), {"start": 0, "clear": 1})
        getattr(dut, port).value = 0
    await bench.master.write(REGISTERS["CONTROL"] + 1, b"\1\1\1")
    check("START", await bench.control(Control.START), {"start": 1, "clear": 0})
    check("pulses", bench.pulses["start"], 2)


@cocotb.test()
async def interrupt(dut: Any) -> None:
    """High in DONE and ERROR, if enabled."""
    await start(dut)
    bench = _Bench(dut)
    for enable in (0, 1, 0xFFFFFFFE):
        await bench.write(REGISTERS["INTERRUPT_ENABLE"], enable)
        check("INTERRUPT_ENABLE", await bench.read(REGISTERS["INTERRUPT_ENABLE"]), enable & 1)
        for done in (0, 1):
            for error in (0, 1):
                dut.done.value, dut.error_valid.value = done, error
                await cycles(dut)
                check("interrupt", int(dut.interrupt.value), enable & 1 & (done | error))


@cocotb.test()
async def counters(dut: Any) -> None:
    """The low word's read latches the high word, whatever the counter does then."""
    await start(dut)
    bench = _Bench(dut)
    bench.stall(2)
    rng = random.Random(seeded(2))
    for name in COUNTERS:
        values = [rng.getrandbits(COUNTER_BITS) for _ in COUNTERS]
        value = values[COUNTERS.index(name)]
        dut.counters.value = sum(v << COUNTER_BITS * i for i, v in enumerate(values))
        await cycles(dut)
        check(name, await bench.read(counter_address(name)), value & 0xFFFFFFFF)
        dut.counters.value = rng.getrandbits(COUNTER_BITS * len(COUNTERS))
        await cycles(dut)
        check(name, await bench.read(counter_address(name) + 4), value >> 32)
