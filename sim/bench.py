"""Runs cocotb benches on emitted Verilog.

A bench module (`sim.units.tb_<unit>`) declares `PARAMETERS`, a list of dictionaries, and
`component(**parameters)`, which returns the `wiring.Component` under test, beside its
`@cocotb.test()` functions. `run_bench` emits the Verilog, builds it once and runs the tests.

Time inside a bench: clock edges that count rise; benches drive and sample around the **falling**
edge (`await cycles(dut)`), where both simulators agree on every value.
"""

import hashlib
import importlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from sim.errors import SimulationError
from sim.files import BUILD, ROOT, locked, require_program

__all__ = [
    "CLOCK_NS",
    "INPUTS_VARIABLE",
    "SIMULATORS",
    "WHOLE_VERILATOR",
    "WHOLE_VERILATOR_MAKE",
    "build_model",
    "cycles",
    "parameters",
    "prune",
    "run_bench",
    "run_model",
    "seeded",
    "start",
]

SIMULATORS = ("verilator", "icarus")
CLOCK_NS = 10
_TIMESCALE = ("1ns", "1ps")
_PARAMETERS = "SIEVIT_BENCH_PARAMETERS"
_RUN = "SIEVIT_BENCH_RUN"
INPUTS_VARIABLE = "SIEVIT_BENCH_INPUTS"

VERILATOR_ARGUMENTS = (
    *("-Wno-fatal", "-Wno-lint", "-Wno-style", "--quiet"),
    *("-O3", "--output-split", "0"),
)
"""Unit benches check behaviour; lint has its own test on the whole machine."""
VERILATOR_MAKE = ("OPT_FAST=-O0",)
"""A unit's run is short and mostly Python: its C++ is one file, compiled as fast as possible."""
WHOLE_VERILATOR = (
    "--no-public-flat-rw",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--no-timing",
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",
)
WHOLE_VERILATOR_MAKE = ("OPT_FAST=-O1",)
"""-O2 takes twice as long to compile a machine and does not simulate faster."""
ICARUS_ARGUMENTS = ("-g2005",)
"""The emitted Verilog is of 2005: there an `always @*` block of constants starts with its value,
where later standards leave it undefined until an input changes."""

_KEPT_SECONDS = 7200
"""A build that a newer one of the same label replaces is kept so long after its last use."""

_NEVER_RUNS = "found no sensitivities"
"""What Icarus says of a bit that is constant beside driven bits of the same signal: it stays X."""


# In the simulator ---------------------------------------------------------------------------------


def parameters() -> dict[str, Any]:
    """The parameter set this run was built with (in a bench, inside the simulator)."""
    return json.loads(os.environ.get(_PARAMETERS, "{}"))


def seeded(seed: int) -> int:
    """The bench's own `seed` in the default run, another one in each further run of the regression.

    The run's number is `run_bench`'s `seed`, which a failure's message names.
    """
    return seed + 1000 * (int(os.environ.get(_RUN, "1")) - 1)


async def start(dut: Any, watchdog_cycles: int = 200_000) -> None:
    """Zero all inputs, start the clock, reset; fail the test after `watchdog_cycles`.

    Returns at a falling edge with reset off. A combinational component has no `clk`: then only the
    inputs are zeroed, and `cycles` lets time pass.
    """
    import cocotb
    from cocotb.clock import Clock
    from cocotb.triggers import Timer

    for name in json.loads(os.environ.get(INPUTS_VARIABLE, "[]")):
        if hasattr(dut, name):
            getattr(dut, name).value = 0

    async def watchdog() -> None:
        await Timer(watchdog_cycles * CLOCK_NS, unit="ns")
        raise AssertionError(f"watchdog: the test still runs after {watchdog_cycles} cycles")

    cocotb.start_soon(watchdog())
    if hasattr(dut, "clk"):
        Clock(dut.clk, CLOCK_NS, unit="ns", impl="gpi").start()
    if hasattr(dut, "rst"):
        dut.rst.value = 1
        await cycles(dut, 3)
        dut.rst.value = 0
    await cycles(dut)


async def cycles(dut: Any, count: int = 1) -> None:
    """Wait for `count` falling clock edges: registers and settled outputs may be read there.

    After driving an input, its combinational outputs are settled at the next call, one rising edge
    later; to see them in the same cycle, `await cocotb.triggers.ReadOnly()`.
    """
    from cocotb.triggers import FallingEdge, Timer

    for _ in range(count):
        if hasattr(dut, "clk"):
            await FallingEdge(dut.clk)
        else:
            await Timer(CLOCK_NS, unit="ns")


# Outside the simulator ----------------------------------------------------------------------------


def _emit(component: Any, unit: str) -> tuple[str, list[str]]:
    """Verilog of a component, and the names of its input ports."""
    from amaranth.back import verilog
    from amaranth.lib.wiring import In

    inputs = []
    for path, member, _value in component.signature.flatten(component):
        if member.flow == In:
            inputs.append("__".join(str(part) for part in path))
    text = verilog.convert(component, name=unit, emit_src=False, strip_internal_attrs=True)
    return text, inputs


def _runner(simulator: str) -> tuple[Any, dict[str, str]]:
    """Cocotb's runner of a simulator, and the environment its build needs."""
    if simulator not in SIMULATORS:
        raise SimulationError(f"no simulator '{simulator}'; there are {', '.join(SIMULATORS)}")
    try:
        import cocotb_tools.runner as tools
    except ModuleNotFoundError as error:
        raise SimulationError("cocotb is missing: pip install -e '.[sim]'") from error
    variables = {}
    if simulator == "icarus":
        require_program("iverilog", "iverilog")
    else:
        from sim.verilator_kit import environment

        variables = environment()
    tools.MAX_PARALLEL_BUILD_JOBS = int(os.environ.get("SIEVIT_BUILD_JOBS", "2"))
    return tools.get_runner(simulator), variables


def prune(folder: Path) -> None:
    """Remove older builds of the same label (name before the digest) that nobody uses any more."""
    label = folder.name.rpartition("-")[0]
    for other in folder.parent.glob(f"{label}-*"):
        if other == folder or other.name.rpartition("-")[0] != label or other.suffix == ".lock":
            continue
        built = other / "built"
        last_used = (built if built.exists() else other).stat().st_mtime
        if time.time() - last_used > _KEPT_SECONDS:
            built.unlink(missing_ok=True)
            shutil.rmtree(other, ignore_errors=True)
            other.with_suffix(".lock").unlink(missing_ok=True)


def _tail(path: Path, lines: int = 30) -> str:
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


def build_model(
    name: str,
    top: str,
    sources: dict[str, str],
    simulator: str,
    *,
    defines: dict[str, Any] | None = None,
    arguments: tuple[str, ...] = (),
    make: tuple[str, ...] = (),
) -> Path:
    """Build Verilog texts (file name -> text) once; returns the build folder.

    arguments : of the simulator's compiler; make : variables of the C++ build (Verilator)
    The folder's name is `name` and a digest of everything that goes in, so an unchanged model is
    not built again; processes that want the same model at the same time build it once. A new build
    removes old ones of the same name.
    """
    defines = defines or {}
    if simulator == "icarus":
        arguments = (*ICARUS_ARGUMENTS, *arguments)
    runner, variables = _runner(simulator)
    variables["MAKEFLAGS"] = " ".join(make)
    kits = [part for part in variables.get("PATH", "").split(os.pathsep) if str(BUILD) in part]
    key = json.dumps([simulator, top, sources, defines, arguments, make, kits])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    folder = BUILD / "sim" / simulator / f"{name}-{digest}"
    with locked(folder.with_suffix(".lock")):
        if (folder / "built").exists():
            (folder / "built").touch()
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file, text in sources.items():
            (folder / file).write_text(text)
        log = folder / "build.log"
        try:
            with mock.patch.dict(os.environ, variables):
                runner.build(
                    sources=[folder / file for file in sources],
                    hdl_toplevel=top,
                    build_dir=folder,
                    defines=defines,
                    build_args=list(arguments),
                    timescale=_TIMESCALE,
                    always=True,
                    log_file=log,
                )
        except (Exception, SystemExit) as error:
            raise SimulationError(
                f"{name}: {simulator} cannot build it ({error}):\n{_tail(log)}"
            ) from error
        if _NEVER_RUNS in _tail(log, lines=10_000):
            raise SimulationError(f"{name}: a constant would stay undefined:\n{_tail(log)}")
        for pattern in ("*.gch", "*.o", "*.a", "*.cpp", "*.h", "*.d"):
            for file in folder.glob(pattern):
                file.unlink()
        (folder / "built").touch()
        prune(folder)
    return folder


def run_model(
    folder: Path,
    top: str,
    module: str,
    simulator: str,
    *,
    variables: dict[str, str] | None = None,
    plusargs: list[str] | None = None,
    test: str | None = None,
    seed: int = 1,
    timeout_s: int = 1200,
) -> None:
    """Run the cocotb tests of `module` on a built model; `SimulationError` has the first failure.

    `variables` are added to the environment of the simulator. A run that takes longer than
    `timeout_s` seconds is ended.
    """
    runner, _ = _runner(simulator)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    runs = folder / "runs"
    runs.mkdir(exist_ok=True)
    run = Path(tempfile.mkdtemp(dir=runs))
    log, results = run / "run.log", run / "results.xml"
    environment = {"SIM_CMD_PREFIX": f"timeout -k 5 {timeout_s}", "COCOTB_LOG_LEVEL": "INFO"}
    status: Any = 0
    try:
        with mock.patch.dict(os.environ, environment):
            runner.test(
                hdl_toplevel=top,
                hdl_toplevel_lang="verilog",
                test_module=module,
                build_dir=folder,
                test_dir=run,
                results_xml=results,
                log_file=log,
                extra_env=variables or {},
                plusargs=plusargs or [],
                testcase=test,
                seed=seed,
                timescale=_TIMESCALE if simulator == "icarus" else None,
            )
    except (Exception, SystemExit) as error:
        status = error
    _check(f"{module} ({simulator}, seed {seed})", results, log, status, timeout_s)
    shutil.rmtree(run, ignore_errors=True)


def _check(title: str, results: Path, log: Path, status: Any, timeout_s: int) -> None:
    """Raise with the first failing test's message; no test at all is a failure too."""
    if not results.exists():
        raise SimulationError(
            f"{title}: the simulator stopped without results ({status}; limit {timeout_s} s):\n"
            f"{_tail(log)}"
        )
    cases = list(ElementTree.parse(results).iter("testcase"))
    if not cases:
        raise SimulationError(f"{title}: no cocotb test ran:\n{_tail(log)}")
    for case in cases:
        for kind in ("failure", "error"):
            found = case.find(kind)
            if found is not None:
                message = re.sub(r"\\n", "\n", found.get("message") or found.text or "")
                raise SimulationError(
                    f"{title}, test '{case.get('name')}': {message}\n--- log: {log}\n{_tail(log)}"
                )
    if status:
        raise SimulationError(f"{title}: the simulator ended with {status}:\n{_tail(log)}")


def run_bench(
    bench: str,
    simulator: str,
    parameters: dict[str, Any] | None = None,
    *,
    test: str | None = None,
    seed: int = 1,
    timeout_s: int = 600,
    change: Callable[[str, str], dict[str, str]] | None = None,
) -> None:
    """Emit, build (once) and run a bench module with one parameter set.

    bench : module name, like `sim.units.tb_gelu`; the Verilog module is named after the unit
    parameters : arguments of the bench's `component`, values that JSON can hold
    test : only the cocotb test of this name
    seed : number of the run, from 1; another one changes all random stimuli (see `seeded`)
    change : makes of the emitted Verilog and its top module the sources to run (file name -> text),
        for netlists
    Raises `SimulationError` with the failing test's message.
    """
    parameters = parameters or {}
    module = importlib.import_module(bench)
    unit = bench.rsplit(".", 1)[-1].removeprefix("tb_")
    text, inputs = _emit(module.component(**parameters), unit)
    sources = change(text, unit) if change else {f"{unit}.v": text}
    fast = simulator == "verilator"
    variant = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:6]
    folder = build_model(
        f"{bench.rsplit('.', 1)[-1]}-{variant}",
        unit,
        sources,
        simulator,
        arguments=VERILATOR_ARGUMENTS if fast else (),
        make=VERILATOR_MAKE if fast else (),
    )
    run_model(
        folder,
        unit,
        bench,
        simulator,
        variables={
            _PARAMETERS: json.dumps(parameters),
            INPUTS_VARIABLE: json.dumps(inputs),
            _RUN: str(seed),
        },
        test=test,
        seed=seed,
        timeout_s=timeout_s,
    )
