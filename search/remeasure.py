"""Points of a search on simulated Verilog: whether cycles and bytes are as predicted."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from search.evaluate import Evaluator
from sim.experiment import simulate
from sim.machine import Options

__all__ = ["remeasure", "some_of"]


def some_of(points: Sequence[dict[str, Any]], wanted: int) -> list[dict[str, Any]]:
    """`wanted` points, evenly spread from the first to the last; fewer if there are no more."""
    last = len(points) - 1
    places = {round(last * n / max(wanted - 1, 1)) for n in range(min(wanted, len(points)))}
    return [points[place] for place in sorted(places)]


def remeasure(
    evaluator: Evaluator,
    point: Mapping[str, Any],
    name: str,
    simulator: str = "verilator",
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Simulate a point with the images of which its cycles were predicted.

    Returns trial, image_cycles and dram_bytes (mean) as measured, differing_elements against the
    golden model, and whether all are as predicted (`agrees`).
    """
    made, timing = evaluator.space.point(point["values"]), evaluator.timing
    found = simulate(
        made.model,
        name,
        made.config,
        simulator,
        evaluator.calibration.images[evaluator.sampled],
        Options(latency=timing.latency, bandwidth=timing.bandwidth),
        progress=tell,
    )
    cycles = [entry["cycles"] for entry in found.report["per_image"]]
    moved = sum(found.report["dram_bytes"].values()) / len(cycles)
    same = cycles == point["image_cycles"] and moved == point["dram_bytes"]
    return {
        "trial": point["trial"],
        "simulator": simulator,
        "image_cycles": cycles,
        "dram_bytes": moved,
        "differing_elements": found.report["differing_elements"],
        "agrees": bool(same and found.agrees),
    }
