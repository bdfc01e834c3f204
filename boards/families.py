"""Synthesis for small chips of other families: by how much a machine is too large for them."""

import json
import time
from dataclasses import dataclass
from typing import Any

from boards import ecp5, report, yowasp
from boards.harness import HARNESS
from boards.resources import used
from boards.stat import cells_by_module
from spec.config import Config

__all__ = ["FAMILIES", "Family", "estimate"]

COUNTS = "counts.json"


@dataclass(frozen=True, kw_only=True)
class Family:
    """How Yosys maps to a family of chips, and what one of them has."""

    chip: str
    available: dict[str, int]
    command: str
    """Of Yosys."""
    takes: dict[str, tuple[str, float]]
    """Cell: the resource it takes, and how much of it."""
    free: tuple[str, ...]


_ICE40_FLIP_FLOPS = tuple(
    f"SB_DFF{edge}{enable}{reset}"
    for edge in ("", "N")
    for enable in ("", "E")
    for reset in ("", "R", "S", "SR", "SS")
)
_GOWIN_FLIP_FLOPS = tuple(
    f"DFF{edge}{kind}"
    for edge in ("", "N")
    for kind in ("", "E", "R", "RE", "S", "SE", "C", "CE", "P", "PE")
)
FAMILIES = {
    "ice40": Family(
        chip="iCE40 UP5K",
        available={"LUT4": 5_280, "FF": 5_280, "DSP": 8, "EBR": 30, "SPRAM": 4},
        command="synth_ice40 -device u -dsp -spram",
        takes={
            "SB_LUT4": ("LUT4", 1),
            **dict.fromkeys(_ICE40_FLIP_FLOPS, ("FF", 1)),
            "SB_MAC16": ("DSP", 1),
            **{f"SB_RAM40_4K{edges}": ("EBR", 1) for edges in ("", "NR", "NW", "NRNW")},
            "SB_SPRAM256KA": ("SPRAM", 1),
        },
        # carries stand beside LUTs; a LUT that only passes a signal on is in the count
        free=("SB_CARRY", "SB_GB"),
    ),
    "gowin": Family(
        chip="Gowin GW2AR-18 (Tang Nano 20K)",
        available={"LUT4": 20_736, "FF": 15_552, "MULT18X18": 48, "BSRAM": 46},
        command="synth_gowin -family gw2a -noiopads",
        takes={
            **{f"LUT{inputs}": ("LUT4", 1) for inputs in range(1, 5)},
            "ALU": ("LUT4", 1),
            **{f"RAM16S{kind}": ("LUT4", 4) for kind in ("4", "DP4")},
            **{f"RAM16S{kind}": ("LUT4", 2) for kind in ("2", "DP2")},
            **{f"RAM16S{kind}": ("LUT4", 1) for kind in ("1", "DP1")},
            **dict.fromkeys(_GOWIN_FLIP_FLOPS, ("FF", 1)),
            "MULT9X9": ("MULT18X18", 0.5),
            "MULT18X18": ("MULT18X18", 1),
            "MULT36X36": ("MULT18X18", 4),
            **dict.fromkeys(("SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B"), ("BSRAM", 1)),
        },
        free=("INV", "GND", "VCC", "GSR", *(f"MUX2_LUT{inputs}" for inputs in range(5, 9))),
    ),
}
"""`ice40` and `gowin`: the largest chips of two boards that many people have."""


def estimate(config: Config, target: str, *, progress: yowasp.Tell | None = None) -> dict[str, Any]:
    """Count what a machine takes of a chip of `FAMILIES`, without placing it: it need not fit.

    The machine stands between shift registers, as in `boards.ecp5`; neither its link nor the
    memory of its image is counted.

    progress : told what is being done, before each step

    Returns the report `spec.reports.ESTIMATE`. `SynthesisError`: missing or failing tool.
    """
    family = FAMILIES[target]
    tell = progress or (lambda _: None)
    folder = yowasp.prepare((yowasp.YOSYS,), f"{config.file_name}-{target}", tell)
    begin = time.monotonic()
    commands = (
        ecp5.READ,
        f"{family.command} -top {HARNESS}",
        f"tee -q -o {COUNTS} stat -json",
    )
    ecp5.map_framed(config, commands, folder, tell)
    counts = json.loads((folder / COUNTS).read_text())
    # Where a cell came from: nothing on the chip
    modules = cells_by_module(counts, ignored=("$scopeinfo",))
    resources = report.against(used(modules, family.takes, family.free), family.available)
    return {
        "preset": config.name,
        "target": target,
        "device": family.chip,
        "macs": config.macs,
        "resources": resources,
        "fits": not report.excess(resources),
        "placed": False,
        "wall_s": round(time.monotonic() - begin, 1),
    }
