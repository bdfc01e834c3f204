"""Gives ports of a component other names: Verilator's classes keep `trace` for themselves."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In

__all__ = ["Renamed"]


class Renamed(wiring.Component):
    """A component around `unit` with the same ports, some under the names in `names`."""

    def __init__(self, unit: wiring.Component, names: dict[str, str]) -> None:
        self.unit = unit
        members = unit.signature.members
        super().__init__({names.get(name, name): member for name, member in members.items()})

    def elaborate(self, platform: None) -> Module:
        """Connect port by port."""
        m = Module()
        m.submodules.unit = unit = self.unit
        outer, inner = self.signature.flatten(self), unit.signature.flatten(unit)
        for (_, member, port), (_, _, of_unit) in zip(outer, inner, strict=True):
            m.d.comb += of_unit.eq(port) if member.flow == In else port.eq(of_unit)
        return m
