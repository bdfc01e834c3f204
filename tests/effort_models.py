"""Models of several efforts whose thresholds part random pictures."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from golden_model import vit
from golden_model.units.entropy_gate import gate_sums, log2
from quantize.efforts import with_efforts
from spec.efforts import Effort
from spec.formats import GATE
from spec.model_file import Model
from tests.random_models import random_images

__all__ = ["every_skip", "parting", "skipping"]


def every_skip(depth: int) -> list[tuple[int, ...]]:
    """All choices of blocks, but none."""
    blocks = range(depth)
    return [skip for count in blocks for skip in combinations(blocks, count + 1)]


def skipping(model: Model, *blocks: int) -> Model:
    """The model with one effort, in which these blocks have no attention."""
    return with_efforts(model, [Effort(skipped=blocks)])


def parting(model: Model, *skips: Sequence[int], images: np.ndarray | None = None) -> Model:
    """The model with efforts of which each ends about half of the images that are left.

    skips : blocks without attention of each effort
    images : random ones if not given
    """
    images = random_images(model.config, 24, seed=9) if images is None else images
    efforts = [Effort(skipped=tuple(skip)) for skip in skips]
    both = with_efforts(model, efforts)
    for number, effort in enumerate(efforts[:-1]):
        config = replace(both.config, efforts=(effort,))
        total, weighted = gate_sums(vit(replace(both, config=config), images), *both.gate_scale)
        entropies = log2(total) - GATE.unit + -(-8 * weighted // total)
        threshold = int(np.median(entropies))
        efforts[number] = replace(effort, threshold=threshold)
        images = images[entropies > threshold]
    return with_efforts(model, efforts)
