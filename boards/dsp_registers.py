"""Moves registers into the multipliers of an ECP5 netlist, where Yosys leaves them outside.

A MULT18X18D has registers at its inputs and at its output. Flip-flops that feed one over long
wires, then a product that travels as far in the same cycle, make the longest paths of an array of
multipliers.
"""

from collections.abc import Iterator
from typing import Any

from boards.nets import MULTIPLIER, REGISTER, Nets

__all__ = ["absorb_registers"]

INPUTS = ("A", "B")
INPUT_BITS, OUTPUT_BITS = 18, 36
PLAIN = {"CLKMUX": "CLK", "REGSET": "RESET"}
"""Parameters of a flip-flop that a multiplier's register can be."""


def absorb_registers(module: dict[str, Any]) -> int:
    """Use the input registers of multipliers whose inputs all come from plain flip-flops.

    All flip-flops of an input must have the same clock and clock enable, and no reset; bits may be
    constant. Of the others, those whose products all go to such flip-flops, and nowhere else, get
    output registers. What a multiplier computes, and when, stays the same. Flip-flops that nothing
    else reads are removed.

    module : the flattened top module of a netlist as Yosys writes it in JSON; changed in place

    Returns how many multipliers now have registers.
    """
    cells = module["cells"]
    registers = {
        cell["connections"]["Q"][0]: cell
        for cell in cells.values()
        if cell["type"] == REGISTER and _plain(cell)
    }
    changed = 0
    inverters = _Inverters(module)
    multipliers = [cell for cell in cells.values() if cell["type"] == MULTIPLIER]
    others = [cell for cell in multipliers if not _absorb(cell, registers, inverters)]
    changed = len(multipliers) - len(others)
    _remove_unread(module, registers)
    readers: dict[Any, list[dict[str, Any]]] = {}
    for bit, cell in _reads(module):
        readers.setdefault(bit, []).append(cell)
    after = {id(register) for register in registers.values()}
    taken: set[int] = set()
    for cell in others:
        changed += _absorb_output(cell, readers, after, taken, inverters)
    _remove(module, taken)
    return changed


def _plain(register: dict[str, Any]) -> bool:
    """Whether it has neither a reset nor anything inverted."""
    parameters, connections = register["parameters"], register["connections"]
    return (
        all(parameters.get(name, value) == value for name, value in PLAIN.items())
        and parameters.get("CEMUX", "1").strip() in ("1", "CE", "INV")
        and connections.get("LSR", ["0"]) == ["0"]
        and parameters.get("LSRMUX", "LSR") == "LSR"
        and "DI" in connections
    )


def _enable(register: dict[str, Any]) -> tuple[Any, bool]:
    """The net of its clock enable, and whether it is inverted."""
    kind = register["parameters"].get("CEMUX", "1").strip()
    return ("1", False) if kind == "1" else (register["connections"]["CE"][0], kind == "INV")


class _Inverters:
    """A LUT for each net that is wanted the other way round."""

    def __init__(self, module: dict[str, Any]) -> None:
        self._module, self._nets = module, Nets(module)
        self._made: dict[int, int] = {}

    def of(self, net: int) -> int:
        """The inverted net."""
        if net not in self._made:
            name = f"not_{net}"
            self._made[net] = self._nets.add(name)
            self._module["cells"][name] = {
                "hide_name": 0,
                "type": "LUT4",
                "parameters": {"INIT": "0101010101010101"},
                "attributes": {},
                "port_directions": {**dict.fromkeys("ABCD", "input"), "Z": "output"},
                "connections": {
                    "A": [net],
                    **{port: ["0"] for port in "BCD"},
                    "Z": [self._made[net]],
                },
            }
        return self._made[net]


def _clock(multiplier: dict[str, Any], register: str, clock: int, enable: int | str) -> None:
    """Clock a register; neighbours share four enables, so one net takes one of them."""
    connections = multiplier["connections"]
    number = next(n for n in range(4) if connections.get(f"CE{n}", [enable]) == [enable])
    for name, net in ((f"CE{number}", enable), ("CLK0", clock)):
        connections[name], multiplier["port_directions"][name] = [net], "input"
    multiplier["parameters"] |= {
        "GSR": "DISABLED",
        f"{register}_CLK": "CLK0",
        f"{register}_CE": f"CE{number}",
    }


def _absorb(
    multiplier: dict[str, Any], registers: dict[Any, dict[str, Any]], inverters: _Inverters
) -> bool:
    """Take the registers of both inputs in, if all can be."""
    connections = multiplier["connections"]
    found: dict[str, tuple[Any, Any]] = {}
    for port in INPUTS:
        bits = [connections[f"{port}{bit}"][0] for bit in range(INPUT_BITS)]
        feeding = [bit for bit in bits if bit not in ("0", "1")]
        if any(bit not in registers for bit in feeding) or "1" in bits or not feeding:
            return False
        clocks = {
            (registers[bit]["connections"]["CLK"][0], _enable(registers[bit])) for bit in feeding
        }
        if len(clocks) != 1:
            return False
        found[port] = clocks.pop()
    if found["A"][0] != found["B"][0]:
        return False
    for port, (clock, (net, inverted)) in found.items():
        _clock(multiplier, f"REG_INPUT{port}", clock, inverters.of(net) if inverted else net)
        for bit in range(INPUT_BITS):
            name = f"{port}{bit}"
            if connections[name][0] != "0":
                connections[name] = registers[connections[name][0]]["connections"]["DI"]
    return True


def _absorb_output(
    multiplier: dict[str, Any],
    readers: dict[Any, list[dict[str, Any]]],
    plain: set[int],
    taken: set[int],
    inverters: _Inverters,
) -> bool:
    """Take the registers of all products in; their flip-flops are added to `taken`."""
    connections = multiplier["connections"]
    found: dict[str, dict[str, Any]] = {}
    for bit in range(OUTPUT_BITS):
        port = f"P{bit}"
        product = connections.get(port, [None])
        reading = readers.get(product[0], [])
        if not reading:
            continue
        if len(reading) > 1 or id(reading[0]) not in plain:
            return False
        if reading[0]["connections"]["DI"] != product:
            return False
        found[port] = reading[0]
    kinds = {(register["connections"]["CLK"][0], _enable(register)) for register in found.values()}
    if len(kinds) != 1:
        return False
    clock, (net, inverted) = kinds.pop()
    _clock(multiplier, "REG_OUTPUT", clock, inverters.of(net) if inverted else net)
    for port, register in found.items():
        connections[port] = register["connections"]["Q"]
        taken.add(id(register))
    return True


def _remove_unread(module: dict[str, Any], registers: dict[Any, dict[str, Any]]) -> None:
    """Drop registers whose output nothing reads any more."""
    read = {bit for bit, _ in _reads(module)}
    _remove(module, {id(cell) for output, cell in registers.items() if output not in read})


def _remove(module: dict[str, Any], gone: set[int]) -> None:
    """Drop these cells, by their identities."""
    module["cells"] = {n: cell for n, cell in module["cells"].items() if id(cell) not in gone}


def _reads(module: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Nets that a cell or a port of the module reads, with who does."""
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for bit in bits:
                    yield bit, cell
    for port in module["ports"].values():
        if port["direction"] == "output":
            for bit in port["bits"]:
                yield bit, port
