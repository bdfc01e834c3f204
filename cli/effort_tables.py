"""Tables of `sievit efforts`."""

from pathlib import Path
from typing import Any

from rich.table import Table

from spec.formats import GATE

__all__ = ["effort_tables"]

UNITS = 1 << GATE.fraction_bits
"""Of a threshold in a bit."""
ROWS = 16
"""Of the front, evenly spread."""


def effort_tables(report: dict[str, Any]) -> tuple[Table, Table]:
    """Similarity of the blocks, and efforts with thresholds (`spec.effort_report.EFFORTS`)."""
    blocks = Table(
        title=f"{Path(report['model']).name}: block input, and with its attention added",
        caption=f"linear CKA, {report['images_similarity']:,} images; score: {report['score']}",
    )
    for column in ("block", "similarity", "skipped as"):
        blocks.add_column(column, justify="right")
    for block, similarity in enumerate(report["similarity"]):
        blocks.add_row(str(block), f"{similarity:.4f}", str(report["order"].index(block) + 1))
    return blocks, _cascades(report)


def _attending(depth: int, skipped: list[int]) -> str:
    """The blocks with attention: `all`, or as `0-2.5`."""
    if not skipped:
        return "all"
    runs: list[list[int]] = []
    for block in (block for block in range(depth) if block not in skipped):
        if runs and runs[-1][-1] == block - 1:
            runs[-1].append(block)
        else:
            runs.append([block])
    return ".".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _cascades(report: dict[str, Any]) -> Table:
    counts = f"{report['images_calibration']:,} and {report['images_held_out']:,} images"
    where = f"{Path(report['model']).name} on {report['preset']}, {report['dram']} DRAM"
    table = Table(
        title=f"{where}: {counts}",
        caption="calibration / held out; attend: the blocks with attention, of each effort; "
        "up to: entropy in bits; share: of the images that each effort answers; "
        "times: all attention / it; uJ: energy proxy",
    )
    for column in ("attend", "up to", "share", "top-1", "", "cycles", "", "times", "uJ"):
        table.add_column(column, justify="right", no_wrap=True)
    dense = max(report["paths"], key=lambda entry: entry["held_out"]["cycles"])

    def add(entry: dict[str, Any], style: str = "") -> None:
        known, others = entry["calibration"], entry["held_out"]
        attend = [_attending(report["depth"], effort["skipped"]) for effort in entry["efforts"]]
        table.add_row(
            "\n".join(attend),
            "\n".join(f"{effort['threshold'] / UNITS:.3f}" for effort in entry["efforts"][:-1]),
            "\n".join(f"{share:.1%}" for share in others["shares"]),
            f"{known['top1']:.2%}",
            f"{others['top1']:.2%}",
            f"{known['cycles']:,.0f}",
            f"{others['cycles']:,.0f}",
            f"{dense['held_out']['cycles'] / others['cycles']:.2f}",
            f"{others['energy_proxy_uj']:.1f}",
            style=style,
        )

    for entry in report["paths"]:
        add(entry)
    table.add_section()
    front = report["front"]
    count = min(ROWS, len(front))
    for number in range(count):
        add(front[number * (len(front) - 1) // max(count - 1, 1)])
    table.add_section()
    add(report["chosen"], "bold")
    return table
