"""Nets that are added to a flattened module of a netlist, as Yosys writes it in JSON."""

from typing import Any

__all__ = ["MULTIPLIER", "REGISTER", "Nets"]

MULTIPLIER, REGISTER = "MULT18X18D", "TRELLIS_FF"
"""Cells of an ECP5."""


class Nets:
    """Numbers for new nets of `module`."""

    def __init__(self, module: dict[str, Any]) -> None:
        self._names = module["netnames"]
        bits = [bit for net in self._names.values() for bit in net["bits"]]
        self._next = 1 + max((bit for bit in bits if isinstance(bit, int)), default=1)

    def add(self, name: str) -> int:
        """The number of a new net of this name."""
        number, self._next = self._next, self._next + 1
        self._names[name] = {"hide_name": 0, "bits": [number], "attributes": {}}
        return number
