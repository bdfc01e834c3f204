"""Runs nextpnr for the ECP5 and reads what it found: resources, clock, slowest path."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boards import report, yowasp
from boards.errors import SynthesisError
from boards.timing import longest_path

__all__ = ["Placed", "place"]


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A netlist that has been placed, and routed if that was asked for."""

    fmax_mhz: float
    """Of the slowest clock; without routing, that of predicted wires."""
    resources: dict[str, dict[str, int]]
    critical_path: list[str]


def place(
    folder: Path,
    netlist: str,
    name: str,
    arguments: Sequence[str],
    *,
    frequency_mhz: float,
    route: bool,
    subject: str,
    line: yowasp.Tell | None = None,
) -> Placed:
    """Place (and route) folder/`netlist`; files are called `name`.* and replace older ones.

    arguments : chip, constraints and what else there is beside the files of results
    frequency_mhz : what is aimed at; a clock that is missed is for the caller to judge
    subject : what does not fit, for the message
    line : given each line of the log while it is written

    `SynthesisError`: the tool fails, or the netlist does not fit.
    """
    report_file, sdf_file, log_file = (folder / f"{name}.{end}" for end in ("rep", "sdf", "log"))
    for stale in folder.glob(f"{name}.*"):
        if stale.name != netlist:
            stale.unlink()
    outputs = ["--report", report_file.name, "--log", log_file.name]
    outputs += [] if route else ["--no-route", "--sdf", sdf_file.name]
    command = ["--json", netlist, "--freq", f"{frequency_mhz:g}", "--timing-allow-fail"]
    try:
        yowasp.follow(
            yowasp.PLACEMENT, [*arguments, *command, *outputs], folder, line or (lambda _: None)
        )
    except SynthesisError as error:
        lacking = report.overflow(log_file.read_text()) if log_file.exists() else []
        if not lacking:
            raise
        raise SynthesisError(f"{subject}: {'; '.join(lacking)}") from error
    found = json.loads(report_file.read_text())
    fmax_mhz = report.clock_mhz(log_file.read_text())
    if fmax_mhz is None:
        raise SynthesisError(f"{yowasp.PLACEMENT} reported no clock frequency")
    return Placed(
        fmax_mhz=fmax_mhz,
        resources=report.resources(found),
        critical_path=report.routed_path(found) if route else _estimated_path(sdf_file),
    )


def _estimated_path(sdf: Path) -> list[str]:
    with sdf.open() as delays:
        path = longest_path(delays)
    return path.lines() if path else []
