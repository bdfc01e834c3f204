"""What makes a search what it is: a study belongs to one."""

import hashlib
from dataclasses import asdict
from typing import Any

from compiler import model_digest
from search.evaluate import Evaluator

__all__ = ["settings_of"]


def settings_of(evaluator: Evaluator) -> dict[str, Any]:
    """By name what the figures of every trial depend on; digests as hex."""
    space, data = evaluator.space, evaluator.calibration
    digest = hashlib.sha256(data.images.tobytes())
    digest.update(data.labels.tobytes())
    return {
        "model": model_digest(space.model),
        "preset": space.config.name,
        "latency": evaluator.timing.latency,
        "bandwidth": evaluator.timing.bandwidth,
        "calibration_images": f"{len(data)} {digest.hexdigest()}",
        "predicted_images": len(evaluator.sampled),
        "energy_costs": asdict(evaluator.costs),
    }
