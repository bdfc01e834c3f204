"""Lints emitted Verilog with Verilator."""

import subprocess
import tempfile
from pathlib import Path

from sim.errors import SimulationError
from sim.files import BUILD, ROOT
from sim.verilator_kit import verilator_kit

__all__ = ["WAIVERS", "lint"]

WAIVERS = ROOT / "rtl_gen" / "lint.vlt"
"""The warnings that may pass: rule, file and reason each."""


def lint(verilog: str, timeout_s: int = 1200) -> list[str]:
    """Warnings and errors of `verilator --lint-only -Wall`, but for those in `WAIVERS`.

    verilog : text of an emitted machine, with the top module sievit_top
    """
    program = verilator_kit() / "verilator"
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="lint-") as folder:
        (Path(folder) / "sievit_top.v").write_text(verilog)
        (Path(folder) / "lint.vlt").write_text(WAIVERS.read_text())
        command = [program, "--lint-only", "-Wall", "--top-module", "sievit_top"]
        try:
            done = subprocess.run(
                [*command, "lint.vlt", "sievit_top.v"],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SimulationError(f"verilator's lint took more than {timeout_s} s") from None
    found = [line for line in done.stderr.splitlines() if line.startswith("%")]
    if done.returncode and not found:
        raise SimulationError(f"verilator's lint failed: {done.stderr[-500:]}")
    return found
