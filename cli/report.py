"""`sievit report`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import CheckFailedError, UsageError
from cli.options import require
from cli.tables import cycle_table, summary_table

__all__ = ["command"]


def command(
    files: Annotated[
        list[Path], typer.Argument(help="Files written by `sievit simulate --json FILE`.")
    ],
) -> None:
    """Print saved simulation reports, side by side if there are several.

    Exit status 1 if elements differ in one of them.

    Example: sievit report tiny.json asic512.json
    """
    require("sim", "jsonschema")
    from jsonschema import ValidationError, validate

    from spec.reports import SIMULATE

    console = Console()
    reports = []
    for path in files:
        try:
            report = json.loads(path.read_text())
            validate(report, SIMULATE)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        except ValidationError as error:
            place = ".".join(map(str, error.absolute_path)) or "report"
            text = f"{place}: {error.message}"
            raise UsageError(f"{path}: not a report of `simulate --json`: {text[:200]}") from None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}: not JSON: {error}") from None
        if not report["images"] or not report["cycles"]:
            raise UsageError(f"{path}: a report of no images")
        reports.append(report)
    if len(reports) == 1:
        console.print(summary_table(reports[0]))
        console.print(cycle_table(reports[0]))
    else:
        console.print(_comparison(reports))
    wrong = [
        str(path) for path, one in zip(files, reports, strict=True) if one["differing_elements"]
    ]
    if wrong:
        raise CheckFailedError(f"elements differ from the golden model in {', '.join(wrong)}")


def _comparison(reports: list[dict]) -> Table:
    """One column a report."""
    table = Table(title="an image on average")
    table.add_column("")
    for report in reports:
        table.add_column(
            f"{Path(report['model']).name}\n{report['preset']}\n{report['simulator']}",
            justify="right",
        )

    def row(name: str, values: list[str]) -> None:
        table.add_row(name, *values)

    row("images", [f"{r['images']:,}" for r in reports])
    row("differing elements", [f"{r['differing_elements']:,}" for r in reports])
    row("cycles", [f"{r['cycles'] / r['images']:,.0f}" for r in reports])
    row("cycles / roofline", [f"{r['roofline_ratio']:.3f}" for r in reports])
    row("utilisation", [f"{r['utilization']:.1%}" for r in reports])
    table.add_section()
    row("busy", [f"{r['array_busy_cycles'] / r['cycles']:.2%}" for r in reports])
    for cause in reports[0]["stalls"]:
        row(cause.replace("_", " "), [f"{r['stalls'][cause] / r['cycles']:.2%}" for r in reports])
    return table
