"""Generic synthesis: how many two-input NANDs the logic of a machine is worth."""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from amaranth.hdl import Elaboratable

from boards import cells, netlist, yowasp
from boards.stat import cells_by_module
from boards.units import GLUE, UNITS, unit_of
from rtl_gen.emit import TOP
from rtl_gen.top import Top
from spec.config import Config

__all__ = ["METHOD", "account", "count", "memories", "script", "synthesize"]

LIBRARY, COUNTS, MEMORIES = "gates.genlib", "gates.json", "memories.txt"

DEEP, SHALLOW, WIDE = 32, 16, 128
"""An SRAM has at least DEEP words, or SHALLOW words of WIDE bits; less is flip-flops."""
METHOD = (
    "yosys, then abc's area mapper, no clock aim: gates of boards/cells.py weighed in thirds of a "
    "NAND2; flip-flop 17/3, with enable 24/3; signed multipliers Booth (small kind), others Booth, "
    f"adders carry-lookahead; memories of {DEEP} words, or {SHALLOW} of {WIDE} bits, are SRAM and "
    "not in the gates; no clock tree, scan, drive strength or wires"
)

_MAP = "-script +strash;dc2;dch,-f;amap"
"""ABC: simplify, then cover with gates for the least area."""
_MODULE = re.compile(r"^module \\?(\S+)$", re.MULTILINE)
_MEMORY = re.compile(
    r"^  cell \$mem_v2 \\?(\S+)$.*?^    parameter \\WIDTH (\d+)$.*?^    parameter \\SIZE (\d+)$",
    re.MULTILINE | re.DOTALL,
)


def script(front: Sequence[str]) -> list[str]:
    """Yosys commands that map what `front` reads to the gates of `boards.cells` (METHOD)."""
    return [
        *front,
        "opt -full",
        "wreduce",
        "peepopt",
        "opt_clean",
        "booth -lowpower t:$mul r:A_SIGNED=1 %i",
        "booth",
        "memory -nomap",
        "opt_clean",
        "memory_map -rom-only",
        f"tee -q -o {MEMORIES} dump t:$mem_v2",
        f"select -set deep t:$mem_v2 r:SIZE>={DEEP} %i",
        f"select -set wide t:$mem_v2 r:SIZE>={SHALLOW} %i r:WIDTH>={WIDE} %i",
        "select -set macros @deep @wide %u",
        "memory_map t:$mem_v2 @macros %d",
        "opt -fast",
        "techmap",
        "opt -fast",
        # Once more, now that every bit stands alone: a unit's idle inputs, then what drives them
        "opt_hier",
        "opt_clean",
        "opt_hier",
        "opt -fast",
        f"dfflegalize -cell {cells.FLIP_FLOP} 01 -cell {cells.ENABLED} 01",
        "opt_expr",
        "opt_merge",
        "opt_clean",
        # a wire called `x[0]` beside a bus x would meet its bit's name when abc gives names back
        "rename -hide w:*",
        "rename -enumerate w:*",
        f"abc -genlib {LIBRARY} {_MAP}",
        "opt_clean",
        f"tee -q -o {COUNTS} stat -json",
    ]


def memories(dump: str) -> list[dict[str, Any]]:
    """Return the memories of a Yosys dump: name, unit, words, word_bits, bits, sram.

    sram : whether it is an SRAM; the others are made of flip-flops
    """
    found = []
    starts = [*_MODULE.finditer(dump), None]
    for start, after in pairwise(starts):
        body = dump[start.end() : after.start() if after else len(dump)]
        for name, width, size in _MEMORY.findall(body):
            words, bits = int(size), int(width)
            path = f"{start[1].removeprefix(f'{TOP}.').removeprefix('core.')}.{name}"
            found.append(
                {
                    "name": path,
                    "unit": unit_of(start[1]),
                    "words": words,
                    "word_bits": bits,
                    "bits": words * bits,
                    "sram": words >= DEEP or (words >= SHALLOW and bits >= WIDE),
                }
            )
    return sorted(found, key=lambda memory: memory["name"])


def account(modules: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, float]]:
    """Sum up cells (by module, how many of each type) for every unit.

    Returns for each unit nand2, combinational_nand2 and sequential_nand2 (its parts), flip_flops
    and enabled_flip_flops (those of them that have an enable).
    """
    by_unit = {unit: Counter() for unit in (*UNITS, GLUE)}
    for path, counted in modules.items():
        by_unit[unit_of(path)].update(counted)
    result = {}
    for unit, counted in by_unit.items():
        thirds = cells.area_thirds(counted)
        kept = {name: counted[name] for name in cells.FLIP_FLOPS if counted[name]}
        sequential = cells.area_thirds(kept)
        result[unit] = {
            "nand2": round(thirds / 3, 2),
            "combinational_nand2": round((thirds - sequential) / 3, 2),
            "sequential_nand2": round(sequential / 3, 2),
            "flip_flops": sum(kept.values()),
            "enabled_flip_flops": kept.get(cells.ENABLED, 0),
        }
    return result


def count(
    design: Elaboratable,
    top: str,
    folder: Path,
    progress: yowasp.Tell = lambda _: None,
) -> dict[str, Any]:
    """Synthesise any design to gates in `folder`; returns units, memories and cells (by type)."""
    progress("emitting the netlist")
    modules = netlist.emit(design, top, folder)
    (folder / LIBRARY).write_text(cells.genlib())
    (folder / "gates.ys").write_text("\n".join(script(netlist.split(modules))) + "\n")
    progress("synthesising to gates (minutes)")
    yowasp.run(yowasp.YOSYS, ["-q", "-l", "gates.log", "-s", "gates.ys"], folder)
    found = cells_by_module(json.loads((folder / COUNTS).read_text()), ignored=("$mem_v2",))
    total = Counter()
    for counted in found.values():
        total.update(counted)
    return {
        "units": account(found),
        "memories": memories((folder / MEMORIES).read_text()),
        "cells": dict(sorted(total.items())),
    }


def synthesize(config: Config, *, progress: yowasp.Tell | None = None) -> dict[str, Any]:
    """Count the gates of a machine; METHOD says how.

    Files stay in build/synth/<preset>-gates.

    progress : told what is being done, before each step

    Returns the report `spec.reports.GATES`. `SynthesisError`: missing or failing tool.
    """
    tell = progress or (lambda _: None)
    folder = yowasp.prepare((yowasp.YOSYS,), f"{config.file_name}-gates", tell)
    begin = time.monotonic()
    found = count(Top(config), TOP, folder, tell)
    nand2 = cells.area_thirds(found["cells"]) / 3
    return {
        "preset": config.name,
        "target": "gates",
        "macs": config.macs,
        "nand2": round(nand2, 2),
        "nand2_per_mac": round(nand2 / config.macs, 2),
        "flip_flops": sum(unit["flip_flops"] for unit in found["units"].values()),
        "enabled_flip_flops": sum(u["enabled_flip_flops"] for u in found["units"].values()),
        "sram_bits": sum(memory["bits"] for memory in found["memories"] if memory["sram"]),
        **found,
        "method": METHOD,
        "wall_s": round(time.monotonic() - begin, 1),
    }
