"""What each sieve of a model is worth: cycles and multiplications, alone and together."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.sieve import sieve
from perf_model.stage_cycles import spread_out
from quantize.variants import variants
from sim.image_cycles import CAUSES, ImageCycles
from sim.sieve_report import spread
from spec.config import Config
from spec.dram import DramTiming
from spec.model_file import Model

__all__ = ["sieve_study"]

_SPREADS = ("cycles", "array_busy_cycles", "attention_core_cycles", "macs_done")


def sieve_study(
    model: Model,
    name: str,
    config: Config,
    dram: str,
    timing: DramTiming,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8] | None = None,
    predicted: int = 0,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Predict images with each sieve alone, with all and with none (`spec.reports.SIEVES`).

    name, dram : of the model and of the memory, for the report
    images : uint8 [n, height, width] or [n, channels, height, width]
    labels : of the images; without them there is no accuracy
    predicted : images of which cycles are predicted where they differ, evenly spread (0: all)
    tell : called with what is being done
    """
    began, say = time.perf_counter(), tell or (lambda text: None)
    entries = []
    for variant in variants(model, config):
        cycles = ImageCycles(variant.model, variant.config, timing)
        found = sieve(variant.model, images)
        differ = cycles.by_data or variant.model.config.stages
        some = spread_out(len(images), predicted if differ else 0)
        say(f"{variant.name}: {len(some)} image{'s' if len(some) > 1 else ''}")
        runs = cycles.runs(images[some], found.of(some))
        each = np.array([run.cycles for run in runs])
        entries.append(
            {
                "name": variant.name,
                "sieves": list(variant.sieves),
                "top1_integer": (
                    None if labels is None else float((found.predictions == labels).mean())
                ),
                "cycles_images": len(some),
                "cycles_error": 0.0 if len(some) == len(images) else _standard_error(each),
                **{key: spread(np.array([getattr(run, key) for run in runs])) for key in _SPREADS},
                "macs_skipped": {
                    cause: float(np.mean([run.macs_skipped[cause] for run in runs]))
                    for cause in CAUSES
                },
            }
        )
    return {
        "model": name,
        "preset": config.name,
        "dram": dram,
        "latency": timing.latency,
        "bandwidth": timing.bandwidth,
        "images": len(images),
        "variants": entries,
        "wall_s": time.perf_counter() - began,
    }


def _standard_error(values: NDArray[np.integer]) -> float:
    """Of the mean of a sample."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
