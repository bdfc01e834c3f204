"""Tables of models with sieves: tokens, MACs, cycles; accuracy against cycles; latency."""

from pathlib import Path
from typing import Any

from rich.table import Table

__all__ = ["curve_table", "effort_table", "latency_table", "sieve_tables", "stage_table"]


def effort_table(report: dict[str, Any]) -> Table:
    """The share of the images that each effort ends (`spec.reports.RUN`)."""
    table = Table(title=f"efforts, {report['efforts_mean']:.3f} an image")
    table.add_column("effort")
    table.add_column("blocks without attention")
    for column in ("ends at, bits", "images"):
        table.add_column(column, justify="right")
    for number, effort in enumerate(report["efforts"]):
        final = number == len(report["efforts"]) - 1
        table.add_row(
            str(number),
            ", ".join(map(str, effort["skipped"])) or "none",
            "" if final else f"{effort['threshold_bits']:.3f}",
            f"{effort['share']:.2%}",
        )
    return table


def stage_table(report: dict[str, Any]) -> Table:
    """Tokens behind each stage, MACs and cycles, over the images (`spec.reports.RUN`)."""
    table = Table(title="an image")
    table.add_column("")
    for column in ("mean", "least", "most"):
        table.add_column(column, justify="right")

    def row(name: str, found: dict[str, float], digits: int = 0) -> None:
        mean = f"{found['mean']:,.{digits}f}"
        table.add_row(name, mean, f"{found['min']:,}", f"{found['max']:,}")

    for stage in report["stages"]:
        row(f"tokens from block {stage['block']} on ({stage['rule']})", stage["tokens"], 1)
        row("  of these patches", stage["patches"], 1)
    table.add_section()
    row("MACs", report["macs"])
    dense = report["macs_dense"]
    table.add_row("MACs, dense", f"{dense:,}", "", "")
    table.add_row(
        "dense / sieved",
        f"{dense / report['macs']['mean']:.3f}",
        f"{dense / report['macs']['max']:.3f}",
        f"{dense / report['macs']['min']:.3f}",
    )
    if "cycles" in report:
        table.add_section()
        where = f"cycles on {report['preset']}, {report['dram']} DRAM"
        images = report.get("cycles_images")
        kind = "measured" if images is None else f"predicted for {images:,} images"
        row(f"{where}, {kind}", report["cycles"])
    return table


def curve_table(report: dict[str, Any]) -> Table:
    """Accuracy, tokens, MACs and cycles for each factor of the thresholds."""
    table = Table(title=f"thresholds varied, {report['images']:,} images")
    for column in ("thresholds", "top-1", "patches left", "MACs", "dense / sieved", "cycles"):
        table.add_column(column, justify="right")
    for point in report["curve"]:
        table.add_row(
            f"x {point['factor']:g}",
            f"{point['top1_integer']:.2%}",
            ", ".join(f"{count:.1f}" for count in point["patches"]),
            f"{point['macs']:,.0f}",
            f"{report['macs_dense'] / point['macs']:.3f}",
            f"{point['cycles']:,.0f}",
        )
    return table


def latency_table(report: dict[str, Any]) -> Table:
    """Cycles of an encoder block by share of the patches (`spec.reports.LATENCY`)."""
    where = f"{Path(report['model']).name} on {report['preset']}, {report['dram']} DRAM"
    table = Table(
        title=f"an encoder block, {where}",
        caption=f"embedding and head: {report['fixed_cycles']:,} cycles",
    )
    table.add_column("keep", justify="right")
    for column in ("tokens", "cycles", "share", "with a selector", "share", "of it selector"):
        table.add_column(column, justify="right")
    dense, *_ = report["block_cycles_dense"]
    for number, keep in enumerate(report["keep"]):
        alone, whole = (report[key][number] for key in ("block_cycles_dense", "block_cycles"))
        table.add_row(
            f"{keep:g}",
            f"{report['tokens'][number]:,}",
            f"{alone:,}",
            f"{alone / dense:.1%}",
            f"{whole:,}",
            f"{whole / dense:.1%}",
            f"{report['selector_cycles'][number]:,}",
        )
    return table


def sieve_tables(report: dict[str, Any]) -> tuple[Table, Table]:
    """Cycles and multiplications with each sieve (`spec.reports.SIEVES`)."""
    images = report["images"]
    where = f"{Path(report['model']).name} on {report['preset']}, {report['dram']} DRAM"
    cycles = Table(
        title=f"{where}: predicted, {images:,} image{'s' if images > 1 else ''}",
        caption="cycles: mean of so many images, +- its standard error; "
        "core: scores, softmax and P.V of all encoder blocks; times: dense / it",
    )
    work = Table(
        title="array cycles and multiplications", caption="left out: dropped tokens, masks, zeros"
    )
    for table, columns in (
        (cycles, ("top-1", "of", "cycles", "+-", "least", "most", "times", "core", "times")),
        (work, ("array busy", "done", "tokens", "masks", "zeros")),
    ):
        table.add_column("sieves", no_wrap=True)
        for column in columns:
            table.add_column(column, justify="right", no_wrap=True)
    dense, *_ = report["variants"]

    def times(entry: dict[str, Any], key: str) -> str:
        return f"{dense[key]['mean'] / max(entry[key]['mean'], 1):.3f}"

    for entry in report["variants"]:
        name, found, skipped = entry["name"], entry["cycles"], entry["macs_skipped"]
        cycles.add_row(
            name,
            "" if entry["top1_integer"] is None else f"{entry['top1_integer']:.2%}",
            f"{entry['cycles_images']:,}",
            f"{found['mean']:,.0f}",
            f"{entry['cycles_error']:,.0f}",
            f"{found['min']:,}",
            f"{found['max']:,}",
            times(entry, "cycles"),
            f"{entry['attention_core_cycles']['mean']:,.0f}",
            times(entry, "attention_core_cycles"),
        )
        causes = (f"{skipped[cause]:,.0f}" for cause in ("tokens", "masked", "zero"))
        done = (f"{entry[key]['mean']:,.0f}" for key in ("array_busy_cycles", "macs_done"))
        work.add_row(name, *done, *causes)
    return cycles, work
