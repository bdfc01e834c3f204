"""Tables of a search: the front, its settings, and what was measured again."""

from pathlib import Path
from typing import Any

from rich.table import Table

__all__ = ["front_table", "measured_table", "refusal_table", "settings_table"]


def front_table(report: dict[str, Any]) -> Table:
    """The model as it is, and the points that no other beats (`spec.search_report`)."""
    where = f"{Path(report['model']).name} on {report['preset']}, {report['dram']} DRAM"
    table = Table(
        title=f"{where}: {len(report['front'])} points that no other of {len(report['points'])} "
        "beats",
        caption=f"top-1 of {report['images']:,} images, held out: of {report['held_out_images']:,} "
        f"others; cycles, bytes: mean of {report['cycles_images']} images, predicted; gates: an "
        "estimate, with SRAM; uJ: an energy proxy; >: chosen for the target",
    )
    for column in ("", "trial", "top-1", "held out", "cycles", "DRAM bytes", "gates", "uJ"):
        table.add_column(column, justify="right", no_wrap=True)
    points = {point["trial"]: point for point in report["points"]}
    base, *_ = report["points"]

    def row(mark: str, point: dict[str, Any], held_out: float | None) -> None:
        table.add_row(
            mark,
            str(point["trial"]),
            f"{point['top1']:.2%}",
            "" if held_out is None else f"{held_out:.2%}",
            f"{point['cycles']:,.0f}",
            f"{point['dram_bytes']:,.0f}",
            f"{point['gates']:,.0f}",
            f"{point['energy_proxy_uj']:,.3f}",
        )

    if base["trial"] not in {entry["trial"] for entry in report["front"]}:
        row("as it is", base, report["base_top1_held_out"])
        table.add_section()
    for entry in report["front"]:
        mark = ">" if entry["trial"] == report["chosen"] else ""
        row(mark, points[entry["trial"]], entry["top1_held_out"])
    return table


def settings_table(report: dict[str, Any]) -> Table:
    """What each point of the front changes."""
    table = Table(title="what they change")
    table.add_column("trial", justify="right")
    table.add_column("machine", overflow="fold")
    table.add_column("model", overflow="fold")
    points = {point["trial"]: point for point in report["points"]}
    for entry in report["front"]:
        point = points[entry["trial"]]
        changes = [
            f"{name} {value}"
            for name, value in point["values"].items()
            if value != report["knobs"][name][0]
            and not name.startswith("machine.")
            and (value is not True or point["values"]["efforts.gate"] not in ("off", "own"))
        ]
        table.add_row(str(entry["trial"]), point["preset"], ", ".join(changes))
    return table


def measured_table(report: dict[str, Any]) -> Table:
    """Cycles as predicted and as the Verilog takes them."""
    table = Table(title="measured again on simulated Verilog")
    for column in ("trial", "simulator", "predicted", "measured", "bytes", "differing elements"):
        table.add_column(column, justify="right")
    points = {point["trial"]: point for point in report["points"]}
    for entry in report["measured"]:
        cycles = (points[entry["trial"]]["image_cycles"], entry["image_cycles"])
        table.add_row(
            str(entry["trial"]),
            entry["simulator"],
            *(" ".join(f"{count:,}" for count in counts) for counts in cycles),
            f"{entry['dram_bytes']:,.0f}",
            f"{entry['differing_elements']:,}",
        )
    return table


def refusal_table(report: dict[str, Any]) -> Table:
    """Why trials had no figures, each reason's beginning once."""
    table = Table(title=f"{len(report['refused'])} trials without a machine or a program")
    table.add_column("trials", justify="right")
    table.add_column("first reason of its kind", overflow="fold")
    kinds: dict[str, list[dict[str, Any]]] = {}
    for entry in report["refused"]:
        kinds.setdefault(_kind(entry["reason"]), []).append(entry)
    for same in sorted(kinds.values(), key=len, reverse=True):
        table.add_row(str(len(same)), same[0]["reason"])
    return table


def _kind(reason: str) -> str:
    """A reason without its numbers and the machine's name."""
    _, _, rest = reason.partition("': ") if reason.startswith("preset '") else ("", "", reason)
    return "".join(sign for sign in rest if not sign.isdigit())
