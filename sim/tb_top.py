"""Runs the machine in the simulator: the host's part, through an independent AXI4-Lite master.

What to do comes from a JSON file (environment variable SIEVIT_REQUEST), what happened goes to
another one (SIEVIT_REPLY); `sim.machine` writes the first and reads the second.
"""

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from sim.bench import CLOCK_NS, cycles, start
from spec.isa import Window
from spec.registers import (
    COUNTERS,
    MAGIC,
    REGISTERS,
    VERSION,
    Control,
    Status,
    counter_address,
    window_address,
)

KNOBS = ("latency", "bandwidth", "stall", "fault", "fault_first", "fault_last")


async def _expect(host: AxiLiteMaster, name: str, expected: int) -> None:
    got = await host.read_dword(REGISTERS[name])
    assert got == expected, f"register {name}: got {got:#x}, expected {expected:#x}"


async def _counters(host: AxiLiteMaster) -> dict[str, int]:
    values = {}
    for name in COUNTERS:
        address = counter_address(name)
        low = await host.read_dword(address)
        values[name] = low | await host.read_dword(address + 4) << 32
    return values


async def _wait(dut: Any, edge: Any, run: dict[str, Any]) -> str:
    """Wait for the interrupt, for the moment to stop the program, or for the limit."""
    if dut.interrupt.value == 1:
        return "interrupt"
    limit = run["clear_after_cycles"] or run["max_cycles"]
    timer = Timer(limit * CLOCK_NS, unit="ns")
    if await First(edge, timer) is timer:
        return "stopped" if run["clear_after_cycles"] else "limit"
    return "interrupt"


async def _one(dut: Any, host: AxiLiteMaster, number: int, run: dict[str, Any]) -> dict[str, Any]:
    for knob in KNOBS:
        getattr(dut, knob).value = run["knobs"][knob]
    for name, (base, limit) in run["windows"].items():
        for address, value in zip(window_address(Window[name]), (base, limit), strict=True):
            await host.write_dword(address, value)
    await host.write_dword(REGISTERS["WATCHDOG"], run["watchdog_cycles"])
    await host.write_dword(REGISTERS["INTERRUPT_ENABLE"], 1)
    dut.image.value = number + 1
    await ClockCycles(dut.clk, 2)
    began, edge = time.perf_counter(), RisingEdge(dut.interrupt)
    await host.write_dword(REGISTERS["CONTROL"], Control.START.value)
    ended = await _wait(dut, edge, run)
    reply = {"ended": ended, "wall_s": time.perf_counter() - began}
    reply["status"] = await host.read_dword(REGISTERS["STATUS"])
    reply["error"] = await host.read_dword(REGISTERS["ERROR_CODE"])
    reply["error_pc"] = await host.read_dword(REGISTERS["ERROR_PC"])
    reply["counters"] = await _counters(host)
    for knob in ("fault", "stall"):
        getattr(dut, knob).value = 0
    await host.write_dword(REGISTERS["CONTROL"], Control.CLEAR.value)
    for _ in range(1000):
        status = await host.read_dword(REGISTERS["STATUS"])
        if not status & (Status.DRAINING | Status.BUSY | Status.DONE | Status.ERROR).value:
            break
        await ClockCycles(dut.clk, 10)
    reply["status_after_clear"] = status
    reply["outstanding"] = int(dut.outstanding.value)
    reply["interrupt_after_clear"] = int(dut.interrupt.value)
    return reply


@cocotb.test()
async def run(dut: Any) -> None:
    """Do all runs of the request."""
    request = json.loads(Path(os.environ["SIEVIT_REQUEST"]).read_text())
    dut.bandwidth.value = 10
    await start(dut, watchdog_cycles=request["watchdog_cycles"])
    host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
    for part in (host.write_if, host.read_if):
        part.log.setLevel(logging.WARNING)
    await _expect(host, "ID", MAGIC)
    await _expect(host, "VERSION", VERSION)
    await _expect(host, "CONFIG_DIGEST_LOW", request["config_digest"] & 0xFFFFFFFF)
    await _expect(host, "CONFIG_DIGEST_HIGH", request["config_digest"] >> 32)
    replies = []
    for number, one in enumerate(request["runs"]):
        replies.append(await _one(dut, host, number, one))
        replies[-1]["violations"] = int(dut.violations.value)
        if replies[-1]["status_after_clear"] != 0:
            break
    first, last = request["dump"]
    dut.dump_first.value = first
    dut.dump_last.value = last
    await cycles(dut, 2)
    dut.dump.value = 1
    await cycles(dut, 2)
    Path(os.environ["SIEVIT_REPLY"]).write_text(json.dumps(replies))
