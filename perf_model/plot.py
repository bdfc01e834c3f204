"""The picture of an estimate: cycles by layer, and the roofline of each."""

from pathlib import Path
from typing import Any

from spec.errors import SievitError

__all__ = ["PlotError", "plot"]


class PlotError(SievitError, RuntimeError):
    """No picture can be drawn: says why."""


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw a report of `estimate` (`spec.reports.PREDICTION`) into a file; its suffix says how."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layers = report["layers"]
    figure = Figure(figsize=(max(7.0, 0.16 * len(layers)), 5.0), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    suffixes = sorted(canvas.get_supported_filetypes())
    if path.suffix[1:] not in suffixes:
        raise PlotError(f"{path}: cannot draw '{path.suffix}'; there are {', '.join(suffixes)}")
    axes = figure.add_subplot()
    places = range(len(layers))
    axes.bar(places, [layer["cycles"] for layer in layers], color="#8fb3d9", label="predicted")
    axes.step(
        [place - 0.5 for place in range(len(layers) + 1)],
        [layer["roofline_cycles"] for layer in [*layers, layers[-1]]],
        where="post",
        color="#b03030",
        linewidth=1.2,
        label="roofline of the layer",
    )
    axes.set_xticks(list(places), [layer["name"] for layer in layers], rotation=90, fontsize=6)
    axes.set_xlim(-0.6, len(layers) - 0.4)
    axes.set_ylabel("cycles")
    axes.legend(loc="upper right")
    axes.set_title(
        f"{report['model']} on {report['preset']}, {report['dram']} DRAM: {report['cycles']:,} "
        f"cycles, {report['roofline_ratio']:.3f} x roofline, array {report['utilization']:.1%}"
    )
    figure.savefig(path)
