"""What a design takes of a chip and how fast it is, from what the tools say."""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["against", "clock_mhz", "excess", "overflow", "resources", "routed_path"]

NAMES = {
    "TRELLIS_COMB": "LUT4",
    "TRELLIS_FF": "FF",
    "TRELLIS_RAMW": "RAMW",
    "DP16KD": "DP16KD",
    "MULT18X18D": "MULT18X18D",
}
"""nextpnr's cells and what they are called in a table; a RAMW makes 16 x 4 bits from LUTs."""

_FMAX = re.compile(r"Max frequency for clock '(.*)': *([\d.]+) MHz")
_USED = re.compile(r"(\w+): +(\d+)/ *(\d+) +\d+%")


def resources(report: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Used and available cells by name, of a `--report` file."""
    found = report["utilization"]
    return {
        name: {"used": found[cell]["used"], "available": found[cell]["available"]}
        for cell, name in NAMES.items()
        if cell in found
    }


def against(used: Mapping[str, float], available: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Return used and, where the chip is known to have it, available, by name."""
    return {
        name: {"used": amount, **({"available": available[name]} if name in available else {})}
        for name, amount in used.items()
    }


def excess(resources: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return how much is missing of each resource that a chip has not enough of."""
    return {
        name: entry["used"] - entry["available"]
        for name, entry in resources.items()
        if entry["used"] > entry.get("available", entry["used"])
    }


def overflow(log: str) -> list[str]:
    """The kinds of cells a chip has not enough of: 'needs 230 DP16KD, has 208'."""
    return [
        f"needs {int(used):,} {NAMES.get(cell, cell)}, has {int(available):,}"
        for cell, used, available in _USED.findall(log)
        if int(used) > int(available)
    ]


def clock_mhz(log: str) -> float | None:
    """The last estimate of the slowest clock in a log: after routing if there is one."""
    latest = {name: float(value) for name, value in _FMAX.findall(log)}
    return min(latest.values(), default=None)


def routed_path(report: Mapping[str, Any]) -> list[str]:
    """Readable lines of the longest path inside a clock domain, of a routed `--report` file."""
    inside = [path for path in report["critical_paths"] if path["from"] == path["to"]]
    if not inside:
        return []
    longest = max(inside, key=lambda path: sum(step["delay"] for step in path["path"]))
    lines, at = [], 0.0
    for step in longest["path"]:
        at += step["delay"]
        sink = f"{step['to']['cell']}/{step['to']['port']}"
        lines.append(f"{at:6.2f} ns  +{step['delay']:5.2f}  {step['type']}  {sink}")
    return lines
