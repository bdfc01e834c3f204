"""The run control against a model of its life, cycle by cycle, and against its corners."""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring

from rtl_gen.host.run_control import RunControl
from rtl_gen.interfaces import ERROR
from sim.bench import cycles, seeded, start
from sim.streams import check, read, write
from spec.registers import Error

PARAMETERS = [{}]
_NO_ERROR = {"valid": 0, "code": Error.NONE, "pc": 0}
_BUS = {"valid": 1, "code": Error.BUS_READ, "pc": 0x1234}
_OUTPUTS = ("running", "begin", "done")
_INPUTS = ("start", "clear", "finished", "progress", "watchdog", "pc", "draining")


def component() -> wiring.Component:
    """The component under test."""
    return RunControl()


class _Model:
    """State after each cycle: what runs, since when nothing has moved, the error's story."""

    def __init__(self) -> None:
        self.state, self.begin, self.quiet = "idle", 0, 0
        self.error = dict(_NO_ERROR)

    def step(self, i: dict[str, Any]) -> None:
        """One rising edge with inputs `i`."""
        self.begin = 0
        if i["clear"]:
            self.state, self.error = "idle", dict(_NO_ERROR)
        elif self.state == "idle" and i["start"] and not i["draining"]:
            self.state, self.begin, self.quiet = "running", 1, 0
        elif self.state == "running":
            if i["failure"]["valid"]:
                self.state, self.error = "error", dict(i["failure"])
            elif self.quiet >= i["watchdog"]:
                self.state = "error"
                self.error = {"valid": 1, "code": Error.WATCHDOG, "pc": i["pc"]}
            elif i["finished"]:
                self.state = "done"
            self.quiet = 0 if i["progress"] else self.quiet + 1

    def outputs(self) -> dict[str, int]:
        """The plain outputs."""
        return {
            "running": int(self.state == "running"),
            "begin": self.begin,
            "done": int(self.state == "done"),
        }


class _Bench:
    """Drives all inputs of a cycle and compares all outputs after it."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.model, self.index = dut, _Model(), 0

    async def step(self, **inputs: Any) -> dict[str, int]:
        """One cycle; inputs left out are 0, and `watchdog` is 1000. Returns the plain outputs."""
        i = {"failure": {**_BUS, "valid": 0}, "watchdog": 1000, **inputs}
        i = {name: i.get(name, 0) for name in (*_INPUTS, "failure")}
        for name in _INPUTS:
            getattr(self.dut, name).value = i[name]
        write(self.dut, "failure", ERROR, i["failure"])
        await cycles(self.dut)
        self.model.step(i)
        self.index += 1
        got = {name: int(getattr(self.dut, name).value) for name in _OUTPUTS}
        check("run_control", got, self.model.outputs(), index=self.index, of=i)
        check("run_control.error", self.error(), self.model.error, index=self.index, of=i)
        return got

    def error(self) -> dict[str, Any]:
        """The error output."""
        return read(self.dut, "error", ERROR)


@cocotb.test()
async def random_life(dut: Any) -> None:
    """Random inputs with every end of a run, and clears at any time."""
    await start(dut)
    bench = _Bench(dut)
    rng = random.Random(seeded(1))
    ends = set()
    for _ in range(1500):
        watchdog = rng.choice((1, 2, 3, 8, 1 << 31))
        failure = {
            "valid": int(rng.random() < 0.05),
            "code": rng.choice(list(Error)[1:]),
            "pc": rng.randrange(1 << 16),
        }
        await bench.step(
            start=int(rng.random() < 0.3),
            clear=int(rng.random() < 0.15),
            finished=int(rng.random() < 0.08),
            progress=int(rng.random() < 0.5),
            watchdog=watchdog,
            pc=rng.randrange(1 << 16),
            draining=int(rng.random() < 0.3),
            failure=failure,
        )
        ends.add(bench.model.state)
    check("run_control.ends", sorted(ends), ["done", "error", "idle", "running"])


@cocotb.test()
async def start_waits_for_draining(dut: Any) -> None:
    """START while draining is ignored, also later; START with CLEAR too; one `begin` a run."""
    await start(dut)
    bench = _Bench(dut)
    idle = {"running": 0, "begin": 0, "done": 0}
    for _ in range(3):
        check("run_control.draining", await bench.step(start=1, draining=1), idle)
    for _ in range(3):
        check("run_control.not_kept", await bench.step(), idle)
    check("run_control.cleared", await bench.step(start=1, clear=1), idle)
    got = await bench.step(start=1)
    check("run_control.started", got, {"running": 1, "begin": 1, "done": 0})
    got = await bench.step(start=1, draining=1)
    check("run_control.running", got, {"running": 1, "begin": 0, "done": 0})
    got = await bench.step(finished=1)
    check("run_control.done", got, {"running": 0, "begin": 0, "done": 1})
    got = await bench.step(start=1)
    check("run_control.still_done", got, {"running": 0, "begin": 0, "done": 1})
    check("run_control.clear", await bench.step(clear=1), idle)


@cocotb.test()
async def watchdog_counts(dut: Any) -> None:
    """The run stops at the first edge after exactly `watchdog` quiet cycles, not one earlier."""
    await start(dut)
    bench = _Bench(dut)
    for limit in (1, 2, 7, 40):
        for moves in (0, 1, 3):
            await bench.step(start=1, progress=1, watchdog=limit)
            for _ in range(moves):
                for _ in range(limit - 1):
                    await bench.step(watchdog=limit)
                await bench.step(progress=1, watchdog=limit)
            for quiet in range(limit):
                got = await bench.step(watchdog=limit, pc=quiet)
                check("run_control.early", got["running"], 1, index=quiet, of=limit)
            got = await bench.step(watchdog=limit, pc=0xBEE, progress=1, finished=1)
            check("run_control.late", got, {"running": 0, "begin": 0, "done": 0}, of=limit)
            expected = {"valid": 1, "code": Error.WATCHDOG, "pc": 0xBEE}
            check("run_control.code", bench.error(), expected, of=limit)
            await bench.step(clear=1)


@cocotb.test()
async def failure_first(dut: Any) -> None:
    """A failure beats the watchdog and `finished`; it stays until CLEAR, which forgets it."""
    await start(dut)
    bench = _Bench(dut)
    await bench.step(failure=_BUS)
    check("run_control.not_running", bench.error(), _NO_ERROR)
    await bench.step(start=1)
    await bench.step(watchdog=1)
    got = await bench.step(watchdog=1, finished=1, failure=_BUS)
    check("run_control.failed", got, {"running": 0, "begin": 0, "done": 0})
    for other in (Error.OPCODE, Error.SEMAPHORE):
        await bench.step(start=1, finished=1, failure={"valid": 1, "code": other, "pc": 1})
        check("run_control.first", bench.error(), _BUS)
    await bench.step(clear=1, failure=_BUS)
    check("run_control.forgotten", bench.error(), _NO_ERROR)
    await bench.step(start=1)
    got = await bench.step(clear=1, finished=1, failure=_BUS)
    check("run_control.stopped", got, {"running": 0, "begin": 0, "done": 0})
    check("run_control.stopped_error", bench.error(), _NO_ERROR)
