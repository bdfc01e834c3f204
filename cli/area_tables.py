"""Tables of what a machine takes: gates by unit, memories, resources of a chip."""

from typing import Any

from rich.table import Table

__all__ = ["comparison_table", "gate_table", "memory_table", "resource_table", "unit_table"]


def _named(unit: str) -> str:
    return unit.replace("_", " ")


def gate_table(report: dict[str, Any]) -> Table:
    """NAND2-equivalents of every unit, with its flip-flops and its share (`spec.reports.GATES`)."""
    table = Table(title=f"{report['preset']}: two-input NANDs (NAND2), {report['macs']} MACs")
    table.add_column("unit")
    for title in ("NAND2", "a MAC", "share", "of it flip-flops", "flip-flops"):
        table.add_column(title, justify="right")
    rows = {_named(unit): entry for unit, entry in report["units"].items()}
    total = {
        key: sum(entry[key] for entry in rows.values())
        for key in ("nand2", "sequential_nand2", "flip_flops")
    }
    for unit, entry in {**rows, "all": total}.items():
        if unit == "all":
            table.add_section()
        table.add_row(
            unit,
            f"{entry['nand2']:,.0f}",
            f"{entry['nand2'] / report['macs']:,.1f}",
            f"{entry['nand2'] / total['nand2']:.1%}",
            f"{entry['sequential_nand2']:,.0f}",
            f"{entry['flip_flops']:,}",
        )
    return table


def memory_table(report: dict[str, Any]) -> Table:
    """SRAM by memory; those made of flip-flops are in the gates (`spec.reports.GATES`)."""
    table = Table(title=f"{report['preset']}: SRAM, not in the gates")
    table.add_column("memory")
    for title in ("words", "bits a word", "bits"):
        table.add_column(title, justify="right")
    for memory in report["memories"]:
        if memory["sram"]:
            table.add_row(
                memory["name"],
                f"{memory['words']:,}",
                f"{memory['word_bits']:,}",
                f"{memory['bits']:,}",
            )
    table.add_section()
    kib = report["sram_bits"] / 8192
    table.add_row("all", "", f"{kib:,.1f} KiB", f"{report['sram_bits']:,}")
    return table


def resource_table(report: dict[str, Any]) -> Table:
    """What is used of what a chip has, and what is missing."""
    table = Table(title=f"{report['preset']} on {report['target']}, {report['device']}")
    table.add_column("resource")
    for title in ("used", "available", "used / available", "missing"):
        table.add_column(title, justify="right")
    for name, entry in report["resources"].items():
        used, available = entry["used"], entry.get("available")
        if available is None:
            table.add_row(name, f"{used:,}", "", "", "")
            continue
        missing = f"{used - available:,}" if used > available else ""
        table.add_row(name, f"{used:,}", f"{available:,}", f"{used / available:.0%}", missing)
    return table


def unit_table(report: dict[str, Any]) -> Table:
    """Resources of every unit, where the report has them."""
    table = Table(title=f"{report['preset']} on {report['target']}, by unit")
    table.add_column("unit")
    for name in report["resources"]:
        table.add_column(name, justify="right")
    for unit, entry in report["units"].items():
        table.add_row(_named(unit), *(f"{entry[name]:,}" for name in report["resources"]))
    return table


def comparison_table(before: dict[str, Any], after: dict[str, Any]) -> Table:
    """What one machine takes more than another, in total and by unit (reports of one target)."""
    table = Table(title=f"{after['preset']} beside {before['preset']}, {after['target']}")
    table.add_column("")
    for title in ("before", "after", "more", "share"):
        table.add_column(title, justify="right")

    def row(name: str, old: float, new: float) -> None:
        share = f"{new / old - 1:+.2%}" if old else ""
        table.add_row(name, f"{old:,g}", f"{new:,g}", f"{new - old:+,g}", share)

    if after["target"] == "gates":
        for key, name in (
            ("nand2", "NAND2"),
            ("flip_flops", "flip-flops"),
            ("sram_bits", "SRAM bits"),
        ):
            row(name, round(before[key]), round(after[key]))
    else:
        for name, entry in after["resources"].items():
            row(name, before["resources"][name]["used"], entry["used"])
    main = "nand2" if after["target"] == "gates" else next(iter(after["resources"]))
    if "units" in after:
        table.add_section()
        for unit, entry in after["units"].items():
            old = before["units"].get(unit, {}).get(main, 0)
            row(f"{_named(unit)}, {main}", round(old), round(entry[main]))
    return table
