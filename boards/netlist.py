"""A design as a netlist, split into the machine's units, for estimates that need no chip."""

import re
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Elaboratable

from boards.units import kept

__all__ = ["NETLIST", "emit", "split"]

NETLIST = "machine.il"

_MODULE = re.compile(r"^module \\(\S+)", re.MULTILINE)


def emit(design: Elaboratable, top: str, folder: Path) -> list[str]:
    """Write a design to `folder`/NETLIST (Yosys' own format); return its modules' names.

    For the machine it is what `sievit emit` writes, before Yosys turns it into Verilog.
    """
    text = rtlil.convert(design, name=top, emit_src=False)
    (folder / NETLIST).write_text(text)
    return _MODULE.findall(text)


def split(modules: list[str]) -> list[str]:
    """Yosys commands that read NETLIST and make one flat module of each unit.

    The trace ports stay open. What no other unit reads, and what another one holds constant, is
    removed from a unit although units stay apart.

    modules : the top first
    """
    return [
        f"read_rtlil {NETLIST}",
        f"hierarchy -top {modules[0]}",
        f"delete -output {modules[0]}/trace_*",
        "proc",
        *(f"setattr -mod -set keep_hierarchy 1 {path}" for path in kept(modules)),
        "flatten -noscopeinfo",
        "opt_expr",
        "opt_clean",
        "opt_hier",
        "opt_expr",
        "opt_clean",
        "opt_hier",
    ]
