"""Registers with many readers get copies; what a netlist computes stays the same."""

from itertools import pairwise
from typing import Any

from boards.fan_out import copy_registers


def _cell(kind: str, inputs: dict[str, int], output: str, net: int, **parameters: str) -> Any:
    return {
        "type": kind,
        "parameters": parameters,
        "port_directions": {**dict.fromkeys(inputs, "input"), output: "output"},
        "connections": {port: [bit] for port, bit in inputs.items()} | {output: [net]},
    }


def _module(readers: int, **parameters: str) -> Any:
    """A register of net 2 whose net 3 enables `readers` registers and, first of all, a product."""
    cells = {"source": _cell("TRELLIS_FF", {"DI": 2, "CLK": 1}, "Q", 3, **parameters)}
    for number in range(readers - 1):
        cells[f"reader_{number:03}"] = _cell("TRELLIS_FF", {"CE": 3, "DI": 2}, "Q", 10 + number)
    cells["zz_product"] = _cell("MULT18X18D", {"CE0": 3}, "P0", 9)
    nets = sorted({bit for cell in cells.values() for [bit] in cell["connections"].values()})
    return {
        "ports": {"o": {"direction": "output", "bits": [3]}},
        "cells": cells,
        "netnames": {"n": {"bits": nets}},
    }


def test_readers_are_shared() -> None:
    """No net has more readers than allowed, all are driven by a register of the same input."""
    module = _module(25)
    assert copy_registers(module, most=10) == 3
    cells = module["cells"]
    sources = {
        cell["connections"]["Q"][0]: cell["connections"]
        for name, cell in cells.items()
        if name.startswith("source")
    }
    assert len(sources) == 4
    assert all((cell["DI"], cell["CLK"]) == ([2], [1]) for cell in sources.values())
    enables = [
        cell["connections"]["CE"][0] for name, cell in cells.items() if name.startswith("reader")
    ]
    assert set(enables) == set(sources) - {3}
    assert max(enables.count(net) for net in sources) <= 10
    assert sum(one != other for one, other in pairwise(enables)) == 2
    assert cells["zz_product"]["connections"]["CE0"] == module["ports"]["o"]["bits"] == [3]
    named = [bit for net in module["netnames"].values() for bit in net["bits"]]
    assert len(named) == len(set(named))


def test_what_stays_alone() -> None:
    """Registers with few readers, and those of a reset synchronizer."""
    assert copy_registers(_module(11), most=10) == 0
    assert copy_registers(_module(25, SRMODE="ASYNC"), most=10) == 0
