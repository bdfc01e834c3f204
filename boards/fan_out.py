"""Copies registers that very much waits for, in a netlist of an ECP5."""

from typing import Any

from boards.nets import MULTIPLIER, REGISTER, Nets

__all__ = ["MOST_READERS", "copy_registers"]

MOST_READERS = 200
"""Of one register: nets of thousands of readers cross the chip by detours, 20 ns for one wire."""


def copy_registers(module: dict[str, Any], most: int = MOST_READERS) -> int:
    """Share the readers of registers that have more than `most` among copies of these.

    Readers with similar names are near each other, so they share a copy. The multipliers among
    them keep one register for all, since neighbours share their enables. What is computed, and
    when, stays the same. A reset synchronizer (its registers are reset at any time) has no copies:
    they could leave reset one cycle apart.

    module : the flattened top module of a netlist as Yosys writes it in JSON; changed in place

    Returns how many copies were made.
    """
    cells = module["cells"]
    readers: dict[Any, list[tuple[list[Any], int]]] = {}
    for _, cell in sorted(cells.items()):
        if cell["type"] == MULTIPLIER:
            continue
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for place, bit in enumerate(bits):
                    readers.setdefault(bit, []).append((bits, place))
    nets = Nets(module)
    made = 0
    for name, register in list(cells.items()):
        if register["type"] != REGISTER or register["parameters"].get("SRMODE") == "ASYNC":
            continue
        waiting = readers.get(register["connections"]["Q"][0], [])
        copies = -(-len(waiting) // most) if len(waiting) > most else 0
        for number in range(copies):
            copy = f"{name}_copy_{number}"
            net = nets.add(copy)
            connections = {port: list(bits) for port, bits in register["connections"].items()}
            cells[copy] = {**register, "connections": connections | {"Q": [net]}}
            first, end = (len(waiting) * at // copies for at in (number, number + 1))
            for bits, place in waiting[first:end]:
                bits[place] = net
            made += 1
    return made
