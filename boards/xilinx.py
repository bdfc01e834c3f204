"""Synthesis for Xilinx UltraScale+: what a machine takes of a chip, before place and route."""

import json
import time
from collections.abc import Mapping
from typing import Any

from boards import netlist, report, yowasp
from boards.resources import used
from boards.stat import cells_by_module
from boards.units import GLUE, UNITS, unit_of
from rtl_gen.emit import TOP
from rtl_gen.top import Top
from spec.config import Config

__all__ = ["CHIP", "account", "script", "synthesize"]

COUNTS = "xcup.json"

CHIP = ("XCZU9EG (ZCU102)", {"LUT": 274_080, "FF": 548_160, "DSP48E2": 2520, "RAMB36": 912})
"""The chip of HeatViT's board, and what it has (AMD DS891); a RAMB36 holds two RAMB18."""

_LUTS = {f"LUT{inputs}": 1 for inputs in range(1, 7)}
_LUT_RAMS = {
    "RAM32X1S": 1,
    "RAM32X1D": 2,
    "RAM64X1S": 1,
    "RAM64X1D": 2,
    "RAM128X1S": 2,
    "RAM128X1D": 4,
    "RAM256X1S": 4,
    "RAM256X1D": 8,
    "RAM512X1S": 8,
    "RAM32M": 4,
    "RAM64M": 4,
    "RAM32M16": 8,
    "RAM64M8": 8,
    "RAM64X8SW": 8,
}
_SHIFTS = {"SRL16E": 1, "SRLC32E": 1}
TAKES: dict[str, tuple[str, float]] = {
    **{name: ("LUT", luts) for name, luts in {**_LUTS, **_LUT_RAMS, **_SHIFTS}.items()},
    **dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), ("FF", 1)),
    "DSP48E2": ("DSP48E2", 1),
    "RAMB36E2": ("RAMB36", 1),
    "RAMB18E2": ("RAMB36", 0.5),
    "URAM288": ("URAM", 1),
    "CARRY8": ("CARRY8", 1),
    "CARRY4": ("CARRY8", 0.5),
}
"""Cell: the resource it takes, and how much of it."""
FREE = ("INV", "BUFG", "IBUF", "OBUF", "MUXF7", "MUXF8", "MUXF9", "GND", "VCC")
"""Inverters go into LUTs, wide multiplexers are there beside them."""


def script(front: list[str]) -> list[str]:
    """Yosys commands that map what `front` reads to UltraScale+ cells, unit by unit."""
    command = f"synth_xilinx -family xcup -noiopad -noclkbuf -top {TOP}"
    return [
        *front,
        f"{command} -run begin:map_luts",
        # Yosys 0.70 fails to put ABC9's result back when wires that nothing needs are left
        "opt_clean -purge",
        f"{command} -run map_luts:",
        f"tee -q -o {COUNTS} stat -json",
    ]


def account(modules: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, float]]:
    """Sum up cells (by module, how many of each type) to resources, for every unit."""
    return {
        unit: used(
            {path: cells for path, cells in modules.items() if unit_of(path) == unit}, TAKES, FREE
        )
        for unit in (*UNITS, GLUE)
    }


def synthesize(config: Config, *, progress: yowasp.Tell | None = None) -> dict[str, Any]:
    """Map a machine to UltraScale+ cells (yosys, family xcup). No place and route, so no clock.

    Every multiplier of the array takes a DSP48E2 of its own (two int8 products could share one).
    Files stay in build/synth/<preset>-xcup.

    progress : told what is being done, before each step

    Returns the report `spec.reports.ESTIMATE`, with `units`. `SynthesisError`: missing or failing
    tool.
    """
    tell = progress or (lambda _: None)
    folder = yowasp.prepare((yowasp.YOSYS,), f"{config.file_name}-xcup", tell)
    begin = time.monotonic()
    tell("emitting the netlist")
    modules = netlist.emit(Top(config), TOP, folder)
    (folder / "xcup.ys").write_text("\n".join(script(netlist.split(modules))) + "\n")
    tell("synthesising for UltraScale+ (minutes)")
    yowasp.run(yowasp.YOSYS, ["-q", "-l", "xcup.log", "-s", "xcup.ys"], folder)
    found = cells_by_module(json.loads((folder / COUNTS).read_text()))
    chip, available = CHIP
    resources = report.against(used(found, TAKES, FREE), available)
    return {
        "preset": config.name,
        "target": "xcup",
        "device": chip,
        "macs": config.macs,
        "resources": resources,
        "fits": not report.excess(resources),
        "units": account(found),
        "placed": False,
        "wall_s": round(time.monotonic() - begin, 1),
    }
