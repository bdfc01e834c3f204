"""What the sieves of a model do over a data set: tokens, MACs, predicted cycles, accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.efforts import first_efforts
from golden_model.sieve import Sieved, sieve
from perf_model.roofline import network_macs
from perf_model.stage_cycles import spread_out
from sim.image_cycles import ImageCycles
from spec.formats import GATE, SCORE
from spec.model_config import ModelConfig
from spec.model_file import Model

__all__ = ["CURVE", "accuracy_curve", "cycle_report", "effort_report", "spread", "stage_report"]

CURVE = (0.0, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.35)
"""Factors of all thresholds."""
Tell = Callable[[str], None]


def spread(values: NDArray[np.integer]) -> dict[str, float]:
    """Mean, least and largest of one number for each image."""
    return {"mean": float(values.mean()), "min": int(values.min()), "max": int(values.max())}


def effort_report(model: ModelConfig, taken: NDArray[np.int64]) -> dict[str, Any]:
    """Keys of `spec.reports.RUN` for a model of several efforts.

    taken : [n], each image's last effort, from 0
    """
    shares = np.bincount(taken, minlength=len(model.passes)) / len(taken)
    return {
        "efforts": [
            {
                "skipped": list(effort.skipped),
                "threshold": effort.threshold,
                "threshold_bits": effort.threshold / (1 << GATE.fraction_bits),
                "share": float(share),
            }
            for effort, share in zip(model.passes, shares, strict=True)
        ],
        "efforts_mean": float((taken + 1).mean()),
    }


def stage_report(
    model: ModelConfig,
    found: Sieved,
    measured: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Keys of `spec.reports.RUN` for a model with stages.

    measured : what a simulation counted for each image
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
        "macs_dense": network_macs(replace(model, stages=(), efforts=())),
        "macs": spread(_macs_of(model, found)),
    }
    if measured is not None:
        report["cycles"] = spread(np.array(measured))
    return report


def cycle_report(
    cycles: ImageCycles, images: NDArray[np.uint8], found: Sieved, predicted: int
) -> dict[str, Any]:
    """Keys of `spec.reports.RUN`: the cycles of `predicted` images, evenly spread (0: of all)."""
    each = _some(cycles, images, found, predicted)
    return {"cycles": spread(each), "cycles_images": len(each)}


def _some(
    cycles: ImageCycles, images: NDArray[np.uint8], found: Sieved, predicted: int
) -> NDArray[np.int64]:
    """Cycles of some of the images."""
    some = spread_out(len(images), predicted)
    return cycles.each(images[some], found.of(some))


def accuracy_curve(
    model: Model,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    cycles: ImageCycles,
    predicted: int,
    tell: Tell,
) -> list[dict[str, Any]]:
    """Accuracy and cycles with all thresholds times each factor of `CURVE`.

    predicted : images of which the mean of the cycles is taken, evenly spread (0: of all)
    """
    points = []
    for factor in CURVE:
        tell(f"thresholds x {factor:g}")
        stages = tuple(
            replace(stage, threshold=min(round(stage.threshold * factor), SCORE.high))
            for stage in model.config.stages
        )
        config = replace(model.config, stages=stages)
        retuned = replace(model, config=config)
        found = sieve(retuned, images)
        points.append(
            {
                "factor": factor,
                "thresholds": [stage.threshold for stage in stages],
                "top1_integer": float((found.predictions == labels).mean()),
                "tokens": [float(count) for count in found.left.mean(axis=0)],
                "patches": [float(count) for count in _patches(config, found).mean(axis=0)],
                "macs": float(_macs_of(config, found).mean()),
                "cycles": float(_some(cycles.retuned(retuned), images, found, predicted).mean()),
            }
        )
    return points


def _patches(model: ModelConfig, found: Sieved) -> NDArray[np.int64]:
    """[n, stages], patches that are rows of their own."""
    return found.alive[:, :, model.prefix_tokens :].sum(axis=2)


def _macs_of(model: ModelConfig, found: Sieved) -> NDArray[np.int64]:
    every = found.every_left.reshape(len(found.effort), -1)
    counts = np.concatenate([found.effort[:, None], every], axis=1)
    kinds, where = np.unique(counts, axis=0, return_inverse=True)
    macs = [network_macs(first_efforts(model, kind[0] + 1), kind[1:]) for kind in kinds.tolist()]
    return np.array(macs, np.int64)[where.reshape(-1)]
