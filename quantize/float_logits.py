"""The float reference over a data set, on every core."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from quantize.float_forward import float_forward
from quantize.float_model import FloatModel
from spec.pixels import batch_of

__all__ = ["float_logits"]

CHUNK_ELEMENTS = 1 << 19


def float_logits(
    model: FloatModel,
    images: NDArray[np.uint8],
    progress: Callable[[int], None] | None = None,
    workers: int | None = None,
) -> NDArray[np.float32]:
    """Class logits [n, classes] of images; arguments as in `golden_model.evaluate`."""
    config = model.config
    images = batch_of(images, config)
    widest = max(3 * config.attention_dim, config.mlp_dim, config.heads * config.tokens)
    size = max(CHUNK_ELEMENTS // (config.tokens * widest), 1)
    results = [np.zeros((0, config.classes), np.float32)]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for logits in pool.map(
            lambda start: float_forward(model, images[start : start + size]),
            range(0, len(images), size),
        ):
            results.append(logits)
            if progress:
                progress(len(logits))
    return np.concatenate(results)
