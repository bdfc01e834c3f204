"""Points of a search on simulated Verilog: whether cycles and bytes are as predicted."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from perf_model.stage_cycles import spread_out
from search.evaluate import Evaluator
from sim.experiment import simulate
from sim.machine import Options

__all__ = ["STATED_ERROR", "remeasure", "some_of"]

STATED_ERROR = 0.005
"""Of the cycles of models with both stages and masks, as a share; there is none of others. Lists of
kept scores that are loaded while SELECT moves rows take ports of token memory, which the prediction
of SELECT does not know (`perf_model.vector`)."""


def some_of(points: Sequence[dict[str, Any]], wanted: int) -> list[dict[str, Any]]:
    """`wanted` points, evenly spread from the first to the last; fewer if there are no more."""
    return [points[place] for place in spread_out(len(points), wanted)] if wanted else []


def remeasure(
    evaluator: Evaluator,
    point: Mapping[str, Any],
    name: str,
    simulator: str = "verilator",
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Simulate a point with the images of which its cycles were predicted, each in its own run.

    In one run the memory's rhythm of beats goes on from image to image: a few cycles more or less.
    Returns trial, image_cycles and dram_bytes (mean) as measured, differing_elements against the
    golden model, and `agrees`: none differs, bytes are equal, cycles within `STATED_ERROR`, which
    is 0 but for models with stages and masks.
    """
    made, timing = evaluator.space.point(point["values"]), evaluator.timing
    reports = [
        simulate(
            made.model,
            name,
            made.config,
            simulator,
            evaluator.calibration.images[number : number + 1],
            Options(latency=timing.latency, bandwidth=timing.bandwidth),
            progress=tell,
        ).report
        for number in evaluator.sampled
    ]
    cycles = [report["cycles"] for report in reports]
    moved = sum(sum(report["dram_bytes"].values()) for report in reports) / len(reports)
    differing = sum(report["differing_elements"] for report in reports)
    shape = made.model.config
    error = STATED_ERROR if shape.stages and any(shape.masks) else 0.0
    same = moved == point["dram_bytes"] and all(
        abs(own - predicted) <= error * own
        for own, predicted in zip(cycles, point["image_cycles"], strict=True)
    )
    return {
        "trial": point["trial"],
        "simulator": simulator,
        "image_cycles": cycles,
        "dram_bytes": moved,
        "differing_elements": differing,
        "agrees": same and not differing,
    }
