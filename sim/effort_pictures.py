"""The picture of efforts: accuracy against cycles."""

from pathlib import Path
from typing import Any

from sim.stage_pictures import new_figure

__all__ = ["draw_efforts"]


def draw_efforts(report: dict[str, Any], path: Path) -> None:
    """Draw a report of `sievit efforts` (`spec.effort_report.EFFORTS`) over the held-out images."""
    figure, save = new_figure(path, (6.5, 4.2))
    axes = figure.add_subplot()

    def points(entries: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
        held_out = [entry["held_out"] for entry in entries]
        return [each["cycles"] for each in held_out], [100 * each["top1"] for each in held_out]

    axes.plot(*points(report["front"]), color="#3b6ea5", marker=".", label="efforts and thresholds")
    axes.plot(*points(report["paths"]), "s", color="#b03030", label="one path for all images")
    axes.plot(*points([report["chosen"]]), "o", color="#e0a020", label="chosen", markersize=9)
    for entry in report["paths"]:
        place = (entry["held_out"]["cycles"], 100 * entry["held_out"]["top1"])
        text = f"{report['depth'] - len(entry['efforts'][0]['skipped'])} attend"
        axes.annotate(text, place, (4, -9), textcoords="offset points", fontsize=7)
    axes.set_xlabel("cycles an image, mean, predicted")
    axes.set_ylabel("top-1 over the held-out images, %")
    axes.set_title(
        f"{Path(report['model']).name} on {report['preset']}, {report['dram']} DRAM, "
        f"{report['images_held_out']:,} images",
        fontsize=9,
    )
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right", fontsize=7)
    save()
