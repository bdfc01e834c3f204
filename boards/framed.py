"""Yosys on a machine between shift registers: its netlist, or what it takes of a chip."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boards import report, yowasp
from boards.harness import harness, ports
from boards.resources import used
from boards.stat import cells_by_module
from rtl_gen.emit import TOP, verilog
from spec.config import Config

__all__ = ["COUNTS", "READ", "Chip", "count", "map_framed"]

READ = "read_verilog machine.v"
COUNTS = "counts.json"


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A chip, and how Yosys maps to its family."""

    name: str
    available: dict[str, int]
    commands: tuple[str, ...]
    """Of Yosys, from the design that has been read to the chip's cells."""
    takes: dict[str, tuple[str, float]]
    """Cell: the resource it takes, and how much of it."""
    free: tuple[str, ...]
    """Cells that take nothing."""


def map_framed(config: Config, commands: Sequence[str], folder: Path, tell: yowasp.Tell) -> None:
    """Emit the machine in its frame and run Yosys on it."""
    tell("emitting Verilog")
    (folder / "machine.v").write_text(_text(config))
    tell("synthesising (minutes)")
    yowasp.run(yowasp.YOSYS, ["-q", "-l", "yosys.log", "-p", "; ".join(commands)], folder)


def count(
    config: Config, target: str, chip: Chip, progress: yowasp.Tell | None = None
) -> dict[str, Any]:
    """Count what a machine takes of a chip, without placing it: it need not fit.

    progress : told what is being done, before each step

    Returns the report `spec.reports.ESTIMATE`. `SynthesisError`: missing or failing tool.
    """
    tell = progress or (lambda _: None)
    folder = yowasp.prepare((yowasp.YOSYS,), f"{config.file_name}-{target}", tell)
    begin = time.monotonic()
    map_framed(config, (READ, *chip.commands, f"tee -q -o {COUNTS} stat -json"), folder, tell)
    modules = cells_by_module(json.loads((folder / COUNTS).read_text()))
    resources = report.against(used(modules, chip.takes, chip.free), chip.available)
    return {
        "preset": config.name,
        "target": target,
        "device": chip.name,
        "macs": config.macs,
        "resources": resources,
        "fits": not report.excess(resources),
        "placed": False,
        "wall_s": round(time.monotonic() - begin, 1),
    }


def _text(config: Config) -> str:
    """Verilog of the machine in its frame; the trace ports stay open, so synthesis drops them."""
    text = verilog(config)
    inputs, outputs = ports(text, TOP)
    kept = {name: width for name, width in outputs.items() if not name.startswith("trace_")}
    return text + harness(TOP, inputs, kept)
