"""The picture of a search: accuracy against cycles, the front among all points."""

from pathlib import Path
from typing import Any

from sim.stage_pictures import new_figure

__all__ = ["draw_front"]

LARGEST, SMALLEST = 160, 20
"""Areas of dots, in square points."""


def draw_front(report: dict[str, Any], path: Path) -> None:
    """Draw a report of `spec.search_report` into a file; its suffix says how.

    Dots are larger with more gates; the front's are coloured by their DRAM bytes and have numbers.
    """
    figure, save = new_figure(path, (8.0, 5.0))
    axes = figure.subplots()
    points, chosen = report["points"], report["chosen"]
    most = max(point["gates"] for point in points)

    def scatter(kind: list[dict[str, Any]], **looks: Any) -> Any:  # noqa: ANN401
        sizes = [SMALLEST + (LARGEST - SMALLEST) * point["gates"] / most for point in kind]
        x, y = ([point[key] for point in kind] for key in ("cycles", "top1"))
        return axes.scatter(x, [100 * share for share in y], s=sizes, **looks)

    scatter(points, color="#d0d0d0", label="all trials")
    if report["front"]:
        numbers = {entry["trial"] for entry in report["front"]}
        best = [point for point in points if point["trial"] in numbers]
        dots = scatter(
            best,
            c=[point["dram_bytes"] for point in best],
            cmap="viridis",
            edgecolors="black",
            linewidths=0.6,
            label="front",
        )
        figure.colorbar(dots, label="DRAM bytes an image")
        for point in best:
            axes.annotate(
                str(point["trial"]),
                (point["cycles"], 100 * point["top1"]),
                textcoords="offset points",
                xytext=(5, 4),
                fontsize=6,
            )
    scatter(points[:1], facecolors="none", edgecolors="#b03030", label="the model as it is")
    if chosen is not None:
        own = [point for point in points if point["trial"] == chosen]
        scatter(own, marker="*", color="#b03030", label=f"chosen: {chosen}")
    if report["target_cycles"] is not None:
        axes.axvline(report["target_cycles"], color="#b03030", linewidth=0.8, linestyle=":")
    if report["max_drop"] is not None:
        least = 100 * (points[0]["top1"] - report["max_drop"])
        axes.axhline(least, color="#b03030", linewidth=0.8, linestyle=":")
    axes.set_xlabel("cycles an image, predicted")
    axes.set_ylabel("top-1, %, calibration images")
    axes.legend(fontsize=7)
    axes.set_title(
        f"{Path(report['model']).name} on {report['preset']}: {len(points)} points, "
        "larger dots have more gates",
        fontsize=9,
    )
    save()
