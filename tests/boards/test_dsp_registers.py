"""Registers that move into multipliers, and those that must not."""

from typing import Any

import pytest

from boards.dsp_registers import absorb_registers

CLOCK, ENABLE, OTHER = 2, 3, 4


def _register(data: int, output: int, **changes: Any) -> dict[str, Any]:
    """A flip-flop as Yosys writes it; `changes` of parameters, or of ports in capitals."""
    connections = {"CLK": [CLOCK], "CE": [ENABLE], "LSR": ["0"], "DI": [data], "Q": [output]}
    parameters = {"CEMUX": "CE", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"}
    for name, value in changes.items():
        (connections if name in connections else parameters)[name] = value
    directions = {port: "output" if port == "Q" else "input" for port in connections}
    return {
        "type": "TRELLIS_FF",
        "parameters": parameters,
        "port_directions": directions,
        "connections": connections,
    }


def _module(a: dict[str, Any], b: dict[str, Any], read: tuple[int, ...] = ()) -> dict[str, Any]:
    """A multiplier of a sign-extended bit and another bit, and the two registers before it."""
    inputs = {f"A{bit}": [20] for bit in range(18)} | {f"B{bit}": ["0"] for bit in range(18)}
    multiplier = {
        "type": "MULT18X18D",
        "parameters": {},
        "port_directions": {**dict.fromkeys(inputs, "input"), "P0": "output"},
        "connections": {**inputs, "B0": [21], "P0": [30]},
    }
    nets = {"n": {"bits": [CLOCK, ENABLE, OTHER, 10, 11, 20, 21, 30]}}
    return {
        "ports": {"o": {"direction": "output", "bits": [30, *read]}},
        "cells": {"a": a, "b": b, "m": multiplier},
        "netnames": nets,
    }


def test_plain() -> None:
    """Both registers move in, every bit of the input with them; their flip-flops go."""
    module = _module(_register(10, 20), _register(11, 21, CEMUX="1 "))
    assert absorb_registers(module) == 1
    assert list(module["cells"]) == ["m"]
    multiplier = module["cells"]["m"]
    connections = multiplier["connections"]
    assert [connections[f"A{bit}"] for bit in range(18)] == [[10]] * 18
    assert [connections["B0"], connections["B1"]] == [[11], ["0"]]
    assert [connections[name] for name in ("CLK0", "CE0", "CE1")] == [[CLOCK], [ENABLE], ["1"]]
    assert multiplier["parameters"]["REG_INPUTA_CLK"] == "CLK0"
    assert multiplier["parameters"]["REG_INPUTB_CE"] == "CE1"
    assert all(multiplier["port_directions"][name] == "input" for name in ("CLK0", "CE0", "CE1"))


def test_inverted_enable() -> None:
    """An enable that counts when it is low goes through a LUT, one for both."""
    module = _module(_register(10, 20, CEMUX="INV"), _register(11, 21, CEMUX="INV"))
    assert absorb_registers(module) == 1
    connections = module["cells"]["m"]["connections"]
    (lut,) = (cell for cell in module["cells"].values() if cell["type"] == "LUT4")
    assert lut["connections"]["A"] == [ENABLE]
    assert connections["CE0"] == lut["connections"]["Z"] == [31]
    assert "CE1" not in connections
    assert module["cells"]["m"]["parameters"]["REG_INPUTB_CE"] == "CE0"


def test_read_elsewhere() -> None:
    """A register that something else reads stays, and moves in as well."""
    module = _module(_register(10, 20), _register(11, 21), read=(21,))
    assert absorb_registers(module) == 1
    assert sorted(module["cells"]) == ["b", "m"]


@pytest.mark.parametrize(
    "change",
    [
        {"LSR": [OTHER]},
        {"REGSET": "SET"},
        {"CLKMUX": "INV"},
        {"CLK": [OTHER]},
        {"Q": [22]},
    ],
    ids=str,
)
def test_refused(change: dict[str, Any]) -> None:
    """One input with a reset, a set, another clock, or no register: nothing changes."""
    module = _module(_register(10, 20), _register(11, 21, **change))
    before = {name: dict(cell["connections"]) for name, cell in module["cells"].items()}
    read = module["ports"]["o"]["bits"]
    read.append(22)
    assert absorb_registers(module) == 0
    assert {name: cell["connections"] for name, cell in module["cells"].items()} == before
    assert module["cells"]["m"]["parameters"] == {}


def test_output() -> None:
    """Where inputs cannot move in, all products can, if they go nowhere else."""
    module = _module(_register(10, 20, LSR=[OTHER]), _register(11, 21))
    module["ports"]["o"]["bits"] = [40]
    module["cells"]["p"] = _register(30, 40)
    assert absorb_registers(module) == 1
    assert sorted(module["cells"]) == ["a", "b", "m"]
    multiplier = module["cells"]["m"]
    assert multiplier["connections"]["P0"] == [40]
    assert multiplier["connections"]["CE0"] == [ENABLE]
    assert multiplier["parameters"]["REG_OUTPUT_CLK"] == "CLK0"
    assert "REG_INPUTA_CLK" not in multiplier["parameters"]


@pytest.mark.parametrize("elsewhere", [True, False])
def test_output_refused(elsewhere: bool) -> None:
    """A product that is read before its register, or whose register is reset."""
    module = _module(_register(10, 20, LSR=[OTHER]), _register(11, 21))
    module["ports"]["o"]["bits"] = [40, 30] if elsewhere else [40]
    module["cells"]["p"] = _register(30, 40, **({} if elsewhere else {"LSR": [OTHER]}))
    assert absorb_registers(module) == 0
    assert len(module["cells"]) == 4


def test_mixed_enables() -> None:
    """Bits of an input with different enables cannot share a register."""
    module = _module(_register(10, 20), _register(11, 21))
    module["cells"]["c"] = _register(12, 23, CE=[OTHER])
    module["cells"]["m"]["connections"]["B1"] = [23]
    assert absorb_registers(module) == 0
