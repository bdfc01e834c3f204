"""Runs the WebAssembly builds of Yosys and nextpnr."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from boards.errors import SynthesisError

__all__ = ["find", "first_error", "run", "warm_up"]

INSTALL = "pip install -e '.[fpga]'"


def find(program: str) -> str:
    """Path of a program beside this Python or on the search path; says how to install it."""
    beside = Path(sys.executable).parent / program
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        raise SynthesisError(f"'{program}' is not installed; install with: {INSTALL}")
    return found


def first_error(text: str) -> str:
    """The first line of a tool's output that says ERROR, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line]
    return (errors or lines[-1:] or ["no output"])[0]


def run(program: str, arguments: Sequence[str], folder: Path) -> str:
    """Run a program in `folder` and return what it says; `SynthesisError` if it fails.

    arguments : file names relative to `folder`; the tools see no absolute paths
    """
    done = subprocess.run(
        [find(program), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise SynthesisError(f"{program} failed: {first_error(done.stdout)}")
    return done.stdout


def warm_up(programs: Sequence[str], folder: Path) -> None:
    """Let the tools compile themselves, which takes minutes at their first use."""
    for program in programs:
        run(program, ["--version"], folder)
