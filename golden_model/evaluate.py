"""The network over a data set, on every core."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden_model.vit import Answer, answer
from spec.model_file import Model
from spec.pixels import batch_of

__all__ = ["Evaluation", "evaluate"]

CHUNK_ELEMENTS = 1 << 18
"""Elements of a chunk's largest tensor: about what a core's cache holds."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results over a data set."""

    images: int
    correct: int | None
    """Predictions equal to their labels; None without labels."""
    predictions: NDArray[np.int64]
    """[n], the class of the largest logit, the lowest class where several are equal."""
    logits: NDArray[np.int16]
    """[n, classes]"""
    effort: NDArray[np.int64]
    """[n], the effort that gave them, from 0"""


def evaluate(
    model: Model,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer] | None = None,
    progress: Callable[[int], None] | None = None,
    workers: int | None = None,
) -> Evaluation:
    """Classify images.

    images : uint8 [n, height, width] or [n, channels, height, width]
    labels : [n], if known
    progress : called with the number of images of every finished chunk
    workers : threads (numpy lets them run at once); all cores if not given
    """
    config = model.config
    images = batch_of(images, config)
    widest = max(3 * config.attention_dim, config.mlp_dim, config.heads * config.tokens)
    size = max(CHUNK_ELEMENTS // (config.tokens * widest), 1)
    starts = range(0, len(images), size)
    none = np.zeros((0, config.classes), np.int16)
    results = [Answer(logits=none, effort=np.zeros(0, np.int64))]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for found in pool.map(lambda start: answer(model, images[start : start + size]), starts):
            results.append(found)
            if progress:
                progress(len(found.effort))
    logits = np.concatenate([found.logits for found in results])
    effort = np.concatenate([found.effort for found in results])
    predictions = logits.argmax(axis=1)
    correct = None if labels is None else int((predictions == labels).sum())
    return Evaluation(
        images=len(images),
        correct=correct,
        predictions=predictions,
        logits=logits,
        effort=effort,
    )
