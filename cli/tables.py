"""Tables and pictures that several verbs print."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from compiler.allocation import Allocation
    from compiler.loop_orders import LoopOrder
    from compiler.planning import Candidate
    from perf_model import Traffic
    from sim.experiment import Experiment

__all__ = [
    "candidate_table",
    "cycle_table",
    "estimate_table",
    "layer_estimate_table",
    "layer_table",
    "order_table",
    "picture",
    "summary_table",
    "traffic_table",
]

RAMP = " .:-=+*#%@"
BAR = 32
"""Characters of the longest bar."""


def picture(image: "NDArray[np.uint8]", colour: bool) -> Text:
    """A grey image [height, width], two rows a line: half blocks, or plain signs without colour."""
    text = Text()
    height, width = image.shape
    if not colour:
        for row in range(0, height - 1, 2):
            for light in image[row : row + 2].mean(axis=0):
                text.append(RAMP[int(light) * len(RAMP) // 256])
            text.append("\n")
        return text
    for row in range(0, height, 2):
        for column in range(width):
            upper = int(image[row, column])
            lower = int(image[row + 1, column]) if row + 1 < height else 0
            text.append("▀", f"rgb({upper},{upper},{upper}) on rgb({lower},{lower},{lower})")
        text.append("\n")
    return text


def _figures(title: str, rows: dict[str, str]) -> Table:
    table = Table(title=title)
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def summary_table(report: dict[str, Any]) -> Table:
    """The figures of a simulation, in total over its images."""
    images = report["images"]
    plural = "s" if images > 1 else ""
    where = f"{Path(report['model']).name} on {report['preset']}, {report['simulator']}"
    rows = {
        "tensors compared": f"{report['tensors_compared']:,}",
        "differing elements": f"{report['differing_elements']:,}",
        "cycles an image": f"{report['cycles'] / images:,.0f}",
        "roofline cycles an image": f"{report['roofline_cycles'] / images:,.0f}",
        "cycles / roofline": f"{report['roofline_ratio']:.3f}",
        "array utilisation": f"{report['utilization']:.1%}",
        "attention core, cycles": f"{report['attention_core_cycles'] / images:,.0f}",
        **{
            f"multiplications skipped, {cause}": f"{count / images:,.0f}"
            for cause, count in report["macs_skipped"].items()
            if count
        },
        "DRAM bytes an image": f"{sum(report['dram_bytes'].values()) / images:,.0f}",
        "simulated cycles per second": f"{report['simulated_cycles_per_s']:,.0f}",
    }
    return _figures(f"{where}, {images} image{plural}", rows)


def estimate_table(report: dict[str, Any]) -> Table:
    """The figures of an estimate."""
    where = f"{Path(report['model']).name} on {report['preset']}, {report['dram']} DRAM"
    live = ", ".join(map(str, report["live"]))
    rows = {
        "cycles an image": f"{report['cycles']:,}",
        "roofline cycles an image": f"{report['roofline_cycles']:,}",
        "cycles / roofline": f"{report['roofline_ratio']:.3f}",
        "array utilisation": f"{report['utilization']:.1%}",
        "instructions": f"{report['instructions']:,}",
        **({"tokens behind the stages": live} if report["live"] else {}),
        "encoder blocks inferred": f"{report['blocks_inferred']:,}",
        "seconds taken": f"{report['wall_s']:.2f}",
    }
    rows |= {
        f"DRAM bytes, {kind}": f"{count:,}" for kind, count in report["dram_bytes"].items() if count
    }
    return _figures(f"{where}, predicted", rows)


def layer_estimate_table(report: dict[str, Any]) -> Table:
    """Predicted cycles and roofline of each layer."""
    table = Table(title="the array's cycles by layer")
    table.add_column("layer")
    for column in ("cycles", "roofline", "ratio", "DRAM bytes"):
        table.add_column(column, justify="right")
    for layer in report["layers"]:
        cycles, bound = layer["cycles"], layer["roofline_cycles"]
        table.add_row(
            layer["name"],
            f"{cycles:,}",
            f"{bound:,}",
            f"{cycles / bound:.2f}" if bound else "",
            f"{layer['dram_bytes']:,}",
        )
    return table


def cycle_table(report: dict[str, Any]) -> Table:
    """Where every cycle went: busy, or stalled by cause."""
    table = Table(title="where the cycles went")
    table.add_column("array")
    table.add_column("cycles", justify="right")
    table.add_column("share", justify="right")
    total = report["cycles"]
    parts = {"busy": report["array_busy_cycles"], **report["stalls"]}
    for cause, cycles in parts.items():
        if cycles or cause in ("busy", "unattributed"):
            table.add_row(cause.replace("_", " "), f"{cycles:,}", f"{cycles / total:.2%}")
    table.add_section()
    table.add_row("all", f"{sum(parts.values()):,}", f"{sum(parts.values()) / total:.2%}")
    return table


def layer_table(experiment: "Experiment") -> Table:
    """Cycles by layer of the first image, with bars."""
    table = Table(title="cycles by layer, first image")
    table.add_column("layer")
    table.add_column("cycles", justify="right")
    table.add_column("")
    longest = max(experiment.layers.values())
    for layer, cycles in experiment.layers.items():
        table.add_row(layer, f"{cycles:,}", "█" * round(BAR * cycles / longest))
    return table


def traffic_table(moved: "Sequence[Traffic]") -> Table:
    """DRAM traffic of one image by tensor."""
    table = Table(title="DRAM traffic of an image, bytes")
    for column in ("tensor", "window"):
        table.add_column(column)
    for column in ("read", "written", "times"):
        table.add_column(column, justify="right")
    for one in moved:
        total = one.read + one.written
        table.add_row(
            one.tensor,
            one.window.name,
            f"{one.read:,}",
            f"{one.written:,}",
            f"{total / one.unique:.2f}",
        )
    read, written = (sum(getattr(one, way) for one in moved) for way in ("read", "written"))
    table.add_section()
    table.add_row("all but the program", "", f"{read:,}", f"{written:,}", "")
    return table


def candidate_table(candidates: "Sequence[Candidate]", chosen: "Allocation") -> Table:
    """What the compiler chose from: predicted cycles decide, then bytes; `>` marks the choice."""
    table = Table(title="candidates")
    for column in ("", "program", "tiles"):
        table.add_column(column)
    for column in ("cycles but attention", "weights, bytes"):
        table.add_column(column, justify="right")
    for one in candidates:
        cycles, moved = one.cost
        table.add_row(
            ">" if one.allocation is chosen else "",
            one.title,
            str(len(one.allocation.tiling.tokens) or 1),
            f"{cycles:,}",
            f"{moved:,}",
        )
    return table


def order_table(found: "Sequence[LoopOrder]") -> Table:
    """Every loop order of each layer; `>` marks the program's."""
    table = Table(title="loop orders, outermost loop first")
    for column in ("", "layer", "order"):
        table.add_column(column)
    for column in ("weights, bytes", "cycles", "token words", "of"):
        table.add_column(column, justify="right")
    table.add_column("legal")
    last = None
    for one in found:
        if last not in (None, one.layer):
            table.add_section()
        last = one.layer
        table.add_row(
            ">" if one.chosen else "",
            one.layer,
            " ".join(one.order) or "one turn",
            f"{one.weight_bytes:,}",
            f"{one.cycles:,}",
            f"{one.token_words:,}",
            f"{one.free_words:,}",
            one.refusal or "yes",
        )
    return table
