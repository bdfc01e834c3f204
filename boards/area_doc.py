"""Writes the tables of `docs/area.md` from reports of `sievit synth`.

Usage: python -m boards.area_doc docs/area.md REPORT.json ...
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from boards.report import excess

__all__ = ["BLOCKS", "refresh"]

Reports = Mapping[tuple[str, str], Mapping[str, Any]]
"""By target and preset."""

COMPARED = "asic512"
"""The preset that published designs of 512 MACs are compared with."""

GATE_PEERS = (
    "| Hsiung & Chang [1] | 512 | 496.4 K | 970 | 232 KB | 1 GHz, 28 nm |",
    "| ITA [2], dot-product units | 1,024 | | 1,119 to 1,238 | | |",
    "| ITA [2], all logic | 1,024 | | about 2,000 | | |",
    "| ViTCoD [3] | 512 | | | 320 KB | 500 MHz, 28 nm |",
)
CHIP_PEERS = (
    "| HeatViT [4], DeiT-T | 137.6 | 126.0 | 1,968 | 355.5 |",
    "| HeatViT [4], DeiT-S and LV-ViT-S | 145.0 | 100.4 | 1,955 | 338.5 |",
    "| HeatViT [4], DeiT-B | 161.4 | 101.8 | 2,066 | 528.6 |",
    "| HeatViT [4], its 16-bit baseline, DeiT-T | 115.6 | 101.5 | 1,739 | 288.5 |",
)

_BLOCK = re.compile(r"(<!-- area:(\w+) -->\n).*?(<!-- /area -->)", re.DOTALL)


def _of(reports: Reports, target: str) -> dict[str, Mapping[str, Any]]:
    """Reports of a target by preset, the smallest machine first."""
    found = {preset: report for (of, preset), report in reports.items() if of == target}
    return dict(sorted(found.items(), key=lambda item: item[1]["macs"]))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> list[str]:
    rule = ["---"] * text_columns + ["---:"] * (len(head) - text_columns)
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def _gates(reports: Reports) -> list[str]:
    found = _of(reports, "gates")
    units = next(iter(found.values()))["units"]
    rows = []
    for unit in units:
        areas = [report["units"][unit]["nand2"] for report in found.values()]
        rows.append([unit.replace("_", " "), *(f"{area:,.0f}" for area in areas)])
    for title, show in (
        ("**all**", lambda report: f"**{report['nand2']:,.0f}**"),
        ("all, a MAC", lambda report: f"{report['nand2_per_mac']:,.0f}"),
        ("flip-flops", lambda report: f"{report['flip_flops']:,}"),
        ("of these with enable", lambda report: f"{report['enabled_flip_flops']:,}"),
        ("SRAM, KiB, not in the gates", lambda report: f"{report['sram_bits'] / 8192:,.1f}"),
    ):
        rows.append([title, *(show(report) for report in found.values())])
    command = "`sievit synth --target gates --preset`"
    rows.append([command, *(f"`{preset}`" for preset in found)])
    return _table(["NAND2", *(f"`{preset}`" for preset in found)], rows)


def _chip(reports: Reports, target: str, names: Sequence[str], command: str) -> list[str]:
    rows = []
    for preset, report in _of(reports, target).items():
        missing = excess(report["resources"])
        cells = [
            f"{report['resources'][name]['used']:,}"
            + (f" ({missing[name]:,} too many)" if name in missing else "")
            for name in names
        ]
        fits = "no" if missing else "yes"
        rows.append([f"`{preset}`", f"`{command} --preset {preset}`", fits, *cells])
    return _table(["preset", "command", "fits", *names], rows, 3)


def _ecp5(reports: Reports) -> list[str]:
    return _chip(reports, "ecp5", ("LUT4", "FF", "MULT18X18D", "DP16KD"), "sievit synth --quick")


def _xcup(reports: Reports) -> list[str]:
    names = ("LUT", "FF", "DSP48E2", "RAMB36")
    return _chip(reports, "xcup", names, "sievit synth --target xcup")


def _gate_peers(reports: Reports) -> list[str]:
    report = _of(reports, "gates")[COMPARED]
    array, macs = report["units"]["mac_array"]["nand2"], report["macs"]
    sram = f"{report['sram_bits'] / 8192:,.1f} KiB"
    own = [
        f"| sievit `{COMPARED}`, all logic | {macs} | {report['nand2'] / 1000:,.1f} K "
        f"| {report['nand2_per_mac']:,.0f} | {sram} | none aimed at |",
        f"| of it the MAC array | {macs} | {array / 1000:,.1f} K | {array / macs:,.0f} | | |",
    ]
    head = ["design", "MACs", "gates", "a MAC", "SRAM", "clock, process"]
    return [*_table(head, []), *own, *GATE_PEERS]


def _chip_peers(reports: Reports) -> list[str]:
    own = []
    for preset, report in _of(reports, "xcup").items():
        used = {name: entry["used"] for name, entry in report["resources"].items()}
        if report["macs"] >= _of(reports, "xcup")[COMPARED]["macs"]:
            own.append(
                f"| sievit `{preset}`, {report['macs']:,} MACs | {used['LUT'] / 1000:.1f} "
                f"| {used['FF'] / 1000:.1f} | {used['DSP48E2']:,} | {used['RAMB36']:,} |"
            )
    return [*_table(["design", "kLUT", "kFF", "DSP", "BRAM36"], []), *own, *CHIP_PEERS]


BLOCKS: dict[str, Callable[[Reports], list[str]]] = {
    "gates": _gates,
    "ecp5": _ecp5,
    "xcup": _xcup,
    "gate_peers": _gate_peers,
    "chip_peers": _chip_peers,
}
"""What stands between `<!-- area:NAME -->` and `<!-- /area -->`."""


def refresh(text: str, reports: Sequence[Mapping[str, Any]]) -> str:
    """Replace every table of a document by one of these reports.

    reports : of `sievit synth`: gates and xcup of `asic512` must be among them
    """
    by_name = {(report["target"], report["preset"]): report for report in reports}

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}\n" + "\n".join(BLOCKS[match[2]](by_name)) + f"\n\n{match[3]}"

    return _BLOCK.sub(block, text)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    found = [json.loads(Path(name).read_text()) for name in sys.argv[2:]]
    path.write_text(refresh(path.read_text(), found))
