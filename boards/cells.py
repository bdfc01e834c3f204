"""The gates that generic synthesis may use, and what each takes in two-input NANDs.

Areas are the usual ratios of a small standard-cell library, in thirds of a NAND2; they are those
of the smallest cells of the open Nangate 45 nm library (NAND2 0.798 um2, a third is 0.266 um2).
"""

from collections.abc import Mapping

from boards.errors import SynthesisError

__all__ = ["ENABLED", "FLIP_FLOP", "FLIP_FLOPS", "GATES", "MUX2", "area_thirds", "genlib"]

GATES = {
    "ZERO": (0, "CONST0"),
    "ONE": (0, "CONST1"),
    "INV": (2, "!A"),
    "BUF": (3, "A"),
    "NAND2": (3, "!(A*B)"),
    "NOR2": (3, "!(A+B)"),
    "AND2": (4, "A*B"),
    "OR2": (4, "A+B"),
    "NAND3": (4, "!(A*B*C)"),
    "NOR3": (4, "!(A+B+C)"),
    "AOI21": (4, "!((A*B)+C)"),
    "OAI21": (4, "!((A+B)*C)"),
    "NAND4": (5, "!(A*B*C*D)"),
    "NOR4": (5, "!(A+B+C+D)"),
    "AOI22": (5, "!((A*B)+(C*D))"),
    "OAI22": (5, "!((A+B)*(C+D))"),
    "XOR2": (6, "(A*!B)+(!A*B)"),
    "XNOR2": (6, "(A*B)+(!A*!B)"),
    "MUX2": (7, "(A*!S)+(B*S)"),
}
"""Name: area in thirds of a NAND2, and function in the notation of genlib."""
MUX2 = GATES["MUX2"][0]
FLIP_FLOP, ENABLED = "$_DFF_P_", "$_DFFE_PP_"
FLIP_FLOPS = {FLIP_FLOP: 17, ENABLED: 17 + MUX2}
"""Yosys' flip-flops: without and with enable, the latter with a multiplexer before it."""


def genlib() -> str:
    """Return the gates as a library for ABC: area and, for every gate, the same delay."""
    pin = "PIN * UNKNOWN 1 999 1.0 0.0 1.0 0.0"
    lines = [
        f"GATE {name} {area} Y={function};" + ("" if "CONST" in function else f" {pin}")
        for name, (area, function) in GATES.items()
    ]
    return "\n".join([*lines, ""])


def area_thirds(cells: Mapping[str, int]) -> int:
    """Area of cells (how many by type), in thirds of a NAND2.

    A type that is neither a gate nor a flip-flop of this library is a `SynthesisError`: nothing
    counts as nothing by mistake.
    """
    strange = [name for name in cells if name not in GATES and name not in FLIP_FLOPS]
    if strange:
        raise SynthesisError(f"cells without a known area: {', '.join(sorted(strange))}")
    return sum(
        count * (FLIP_FLOPS[name] if name in FLIP_FLOPS else GATES[name][0])
        for name, count in cells.items()
    )
