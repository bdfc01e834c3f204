"""Synthesis for small chips of other families: by how much a machine is too large for them."""

from boards.framed import Chip
from boards.harness import HARNESS

__all__ = ["FAMILIES"]

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
    "ice40": Chip(
        name="iCE40 UP5K",
        available={"LUT4": 5_280, "FF": 5_280, "DSP": 8, "EBR": 30, "SPRAM": 4},
        commands=(f"synth_ice40 -device u -dsp -spram -top {HARNESS}",),
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
    "gowin": Chip(
        name="Gowin GW2AR-18 (Tang Nano 20K)",
        available={"LUT4": 20_736, "FF": 15_552, "MULT18X18": 48, "BSRAM": 46},
        commands=(f"synth_gowin -family gw2a -noiopads -top {HARNESS}",),
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
"""Chips of two boards that many people have. Neither a machine's link nor its image is counted."""
