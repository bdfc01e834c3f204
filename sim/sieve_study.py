"""What each sieve of a model is worth: cycles and multiplications, alone and together."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.sieve import sieve
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
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Predict images with each sieve alone, with all and with none (`spec.reports.SIEVES`).

    name, dram : of the model and of the memory, for the report
    images : uint8 [n, height, width] or [n, channels, height, width]
    tell : called with what is being done
    """
    began, say = time.perf_counter(), tell or (lambda text: None)
    entries = []
    for variant in variants(model, config):
        say(f"{variant.name}: {len(images)} image{'s' if len(images) > 1 else ''}")
        cycles = ImageCycles(variant.model, variant.config, timing)
        runs = cycles.runs(images, sieve(variant.model, images))
        entries.append(
            {
                "name": variant.name,
                "sieves": list(variant.sieves),
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
