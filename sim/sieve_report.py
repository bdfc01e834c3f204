"""What the stages of a model do over a data set: tokens, MACs, predicted cycles, accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.sieve import Sieved, sieve
from perf_model import roofline
from perf_model.stage_cycles import StageCycles
from spec.config import Config
from spec.formats import SCORE
from spec.model_config import ModelConfig
from spec.model_file import Model
from spec.presets import PRESETS

__all__ = ["CURVE", "accuracy_curve", "spread", "stage_report"]

CURVE = (0.0, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)
"""Factors of all thresholds."""
CHECKS = 3
"""Images whose cycles are predicted as a whole too."""

Tell = Callable[[str], None]


def spread(values: NDArray[np.integer]) -> dict[str, float]:
    """Mean, least and largest of one number for each image."""
    return {"mean": float(values.mean()), "min": int(values.min()), "max": int(values.max())}


def stage_report(
    model: ModelConfig,
    found: Sieved,
    cycles: StageCycles | None = None,
    measured: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Keys of `spec.reports.RUN` for a model with stages.

    cycles : predicts those of each image; measured : or those that a simulation counted
    """
    report: dict[str, Any] = {
        "stages": [
            {
                "block": stage.block,
                "rule": stage.rule,
                "threshold": stage.threshold,
                "tokens": spread(found.left[:, number]),
                "patches": spread(_patches(model, found)[:, number]),
            }
            for number, stage in enumerate(model.stages)
        ],
        "macs_dense": _macs(replace(model, stages=()), ()),
        "macs": spread(_macs_of(model, found)),
    }
    if measured is not None:
        report["cycles"] = spread(np.array(measured))
    elif cycles is not None:
        each = cycles.each(found.left, found.first)
        report["cycles"] = spread(each)
        worst = 0
        for number in np.linspace(0, len(each) - 1, CHECKS).astype(int):
            first = [None if row < 0 else int(row) for row in found.first[number]]
            whole = cycles.exact(found.left[number].tolist(), first)
            worst = max(worst, abs(whole - int(each[number])))
        report["cycles_check"] = {"images": CHECKS, "largest_difference": worst}
    return report


def accuracy_curve(
    model: Model,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    cycles: StageCycles,
    tell: Tell,
) -> list[dict[str, Any]]:
    """Accuracy and cycles with all thresholds times each factor of `CURVE`."""
    points = []
    for factor in CURVE:
        tell(f"thresholds x {factor:g}")
        stages = tuple(
            replace(stage, threshold=min(round(stage.threshold * factor), SCORE.high))
            for stage in model.config.stages
        )
        config = replace(model.config, stages=stages)
        found = sieve(replace(model, config=config), images)
        points.append(
            {
                "factor": factor,
                "thresholds": [stage.threshold for stage in stages],
                "top1_integer": float((found.predictions == labels).mean()),
                "tokens": [float(count) for count in found.left.mean(axis=0)],
                "patches": [float(count) for count in _patches(config, found).mean(axis=0)],
                "macs": float(_macs_of(config, found).mean()),
                "cycles": float(cycles.each(found.left, found.first).mean()),
            }
        )
    return points


def _patches(model: ModelConfig, found: Sieved) -> NDArray[np.int64]:
    """[n, stages], patches that are rows of their own."""
    return found.alive[:, :, model.prefix_tokens :].sum(axis=2)


def _macs(model: ModelConfig, live: tuple[int, ...]) -> int:
    some: Config = next(iter(PRESETS.values()))
    return roofline(model, some, live).macs


def _macs_of(model: ModelConfig, found: Sieved) -> NDArray[np.int64]:
    kinds, where = np.unique(found.left, axis=0, return_inverse=True)
    macs = np.array([_macs(model, tuple(kind.tolist())) for kind in kinds], np.int64)
    return macs[where.reshape(-1)]
