"""Hand-written Verilog around the machine, and values put in place of its parameters' defaults."""

from collections.abc import Mapping

from sim.errors import SimulationError
from sim.files import ROOT

__all__ = ["DRAM", "HARNESS", "with_parameters"]

HARNESS = ROOT / "sim" / "harness.v"
DRAM = ROOT / "sim" / "axi_dram.v"
"""Module `axi_dram`: the memory in the simulations and in exported testbenches."""


def with_parameters(verilog: str, values: Mapping[str, int | str]) -> str:
    """Verilog with other defaults for parameters that it declares as `parameter NAME = VALUE`.

    values : integers, or Verilog's own constants as text
    `SimulationError` for a parameter that is not declared so.
    """
    for name, value in values.items():
        head, found, tail = verilog.partition(f"parameter {name} = ")
        if not found:
            raise SimulationError(f"this Verilog has no parameter {name}")
        end = min(tail.index(mark) for mark in (",\n", "\n") if mark in tail)
        verilog = f"{head}{found}{value}{tail[end:]}"
    return verilog
