"""Random models that the array works less for: masks, thresholds, ReLU."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spec.masks import masked_tensors
from spec.model_config import THRESHOLDS as NAMES
from spec.model_file import Model

THRESHOLDS = (3, 4, 5, 20, 30, 2, 40, 50, 60)
"""Of q, k, v, scores, probs, context, proj, fc1 and fc2: they clear some values of each."""


def random_kept(model: Model, share: float, seed: int = 0) -> np.ndarray:
    """Kept scores of one block, bool [heads, tokens, tokens]: those of the prefix, and a share.

    Some keys are kept by most queries, as in trained models.
    """
    config, rng = model.config, np.random.default_rng(seed)
    size = (config.heads, config.tokens, config.tokens)
    likely = np.where(rng.random((config.heads, 1, config.tokens)) < 0.1, 0.8, share)
    kept = rng.random(size) < likely
    first = max(config.prefix_tokens, 1)
    kept[:, :first] = kept[:, :, :first] = True
    return kept


def masked(model: Model, share: float = 0.2, blocks: Sequence[int] = (), seed: int = 0) -> Model:
    """The model with random masks in some encoder blocks, in all if none is given."""
    counts, tensors = [], dict(model.tensors)
    for block in range(model.config.depth):
        counts.append(0)
        if not blocks or block in blocks:
            kept = random_kept(model, share, seed + block)
            counts[-1] = int(kept.sum())
            name = f"blocks.{block}.attn.mask"
            tensors[f"{name}.pointers"], tensors[f"{name}.indices"] = masked_tensors(kept)
    return replace(model, config=replace(model.config, masks=tuple(counts)), tensors=tensors)


def with_thresholds(model: Model, values: Sequence[int] = THRESHOLDS) -> Model:
    """The model with the same thresholds in each encoder block, in the order of the file.

    None for probabilities that a selection reads.
    """
    tensors = dict(model.tensors)
    read = [stage.block - 1 for stage in model.config.stages if stage.rule == "cls_attention"]
    for block in range(model.config.depth):
        own = np.array(values, np.uint16)
        own[NAMES.index("probs")] *= block not in read
        tensors[f"blocks.{block}.thresholds"] = own
    return replace(model, config=replace(model.config, thresholds=True), tensors=tensors)
