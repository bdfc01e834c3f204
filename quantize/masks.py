"""Fixed attention masks from averaged attention maps, and ViTCoD's global tokens (HPCA 2023).

Masks are bool [blocks, heads, queries, keys], true where a score is kept. The prefix tokens (CLS,
and the distillation token) keep their rows and columns.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize.errors import QuantizeError
from quantize.float_forward import float_forward
from quantize.float_model import FloatModel, mask_tensors
from spec.model_config import float_shapes
from spec.model_file import Model

__all__ = [
    "average_attention",
    "global_limit",
    "global_tokens",
    "kept_masks",
    "mask_counts",
    "mask_rows",
    "prune_by_information",
    "prune_to_sparsity",
    "reordering",
    "sparsity",
    "with_masks",
]

GLOBAL_QUERIES, GLOBAL_OF = 50, 197
"""ViTCoD: a token is global if more than 50 of DeiT's 197 queries keep its key."""
CHUNK_IMAGES = 32
STEPS = 40
"""Halvings of the information cutoff's range."""

Maps = NDArray[np.floating]
Masks = NDArray[np.bool_]


def average_attention(
    model: FloatModel, images: NDArray[np.uint8], progress: Callable[[int], None] | None = None
) -> NDArray[np.float64]:
    """Attention after softmax, averaged over images; stages, masks and thresholds left out.

    images : uint8 [n, height, width] or [n, channels, height, width]
    progress : called with the number of images of every finished chunk
    result : [blocks, heads, queries, keys], each row of sum 1
    """
    if not len(images):
        raise QuantizeError("attention maps need at least one image")
    config = replace(model.config, stages=(), masks=(), thresholds=False, efforts=())
    parameters = {name: model.parameters[name] for name in float_shapes(config)}
    dense = replace(model, config=config, parameters=parameters, kept={}, tau=())
    total = np.zeros((config.depth, config.heads, config.tokens, config.tokens))

    def collect(name: str, array: NDArray[np.floating]) -> None:
        if name.endswith(".attn.probs"):
            total[int(name.split(".")[1])] += array.sum(axis=0, dtype=np.float64)

    for start in range(0, len(images), CHUNK_IMAGES):
        chunk = images[start : start + CHUNK_IMAGES]
        float_forward(dense, chunk, collect)
        if progress:
            progress(len(chunk))
    return total / len(images)


def prune_by_information(maps: Maps, information: float, prefix: int) -> Masks:
    """Keep each query's largest scores up to an information threshold: ViTCoD's reference rule.

    Largest first, c scores are taken until their sum reaches `information`; c + 1 are kept, one
    more than that takes, as in `gen_mask.py` (its Algorithm 1 would keep c). Then the rows and
    columns of the first `prefix` tokens are kept whole.
    maps : [..., queries, keys], each row of sum 1
    """
    count = maps.shape[-1]
    order = np.argsort(maps, axis=-1, kind="stable")
    ordered = np.take_along_axis(maps, order, axis=-1)[..., ::-1]
    before = np.cumsum(ordered, axis=-1) - ordered
    taken = (before < information).sum(axis=-1, keepdims=True)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(count), order.shape), axis=-1)
    kept = rank > count - taken - 2
    kept[..., :prefix, :] = True
    kept[..., :, :prefix] = True
    return kept


def prune_to_sparsity(maps: Maps, wanted: float, prefix: int) -> tuple[Masks, float]:
    """Tune the information threshold until this share of all scores is pruned, as ViTCoD does.

    result : the densest mask of at least that sparsity, and its threshold
    """
    if not 0 <= wanted < 1:
        raise QuantizeError(f"sparsity must be at least 0 and below 1, not {wanted:g}")
    low, high = 0.0, 1.0
    best = prune_by_information(maps, low, prefix)
    if sparsity(best) < wanted:
        raise QuantizeError(
            f"sparsity {wanted:g} cannot be reached: with one score a query and the prefix tokens' "
            f"rows and columns it is {sparsity(best):.4f}; ask for less"
        )
    for _ in range(STEPS):
        middle = (low + high) / 2
        kept = prune_by_information(maps, middle, prefix)
        if sparsity(kept) >= wanted:
            low, best = middle, kept
        else:
            high = middle
    return best, low


def sparsity(kept: Masks) -> float:
    """Share of the scores that are pruned."""
    return 1 - float(kept.mean())


def global_limit(tokens: int) -> int:
    """A token is global if more queries than this keep its key: 50 of 197, in proportion."""
    return tokens * GLOBAL_QUERIES // GLOBAL_OF


def global_tokens(kept: Masks) -> NDArray[np.int64]:
    """How many tokens are global (ViTCoD's `reorder.py`).

    kept : bool [..., queries, keys]
    result : [...]
    """
    return (kept.sum(axis=-2) > global_limit(kept.shape[-1])).sum(axis=-1)


def reordering(kept: Masks) -> NDArray[np.int64]:
    """The order of a head's tokens that has the global ones in front (ViTCoD's `reorder.py`).

    kept : bool [queries, keys]
    result : [tokens]; the i-th global token and token i change places
    """
    order = np.arange(kept.shape[-1])
    found = np.flatnonzero(kept.sum(axis=-2) > global_limit(kept.shape[-1]))
    for place, token in enumerate(found):
        order[[place, token]] = order[[token, place]]
    return order


def kept_masks(model: Model) -> Masks:
    """Masks of a quantised model, bool [blocks, heads, queries, keys]; all true without one."""
    config = model.config
    kept = np.ones((config.depth, config.heads, config.tokens, config.tokens), np.bool_)
    for block in range(config.depth):
        if config.masked(block):
            kept[block] = model.kept_scores(block)
    return kept


def mask_rows(kept: Masks) -> list[dict[str, Any]]:
    """What each block's mask is like, for a report.

    kept : bool [blocks, heads, queries, keys]
    Bytes are those of the pointers and indices in a model file, and of a bit for each score.
    """
    rows: list[dict[str, Any]] = []
    for block, each in enumerate(kept):
        keys = each[:, 1:].sum(axis=-1)
        tensors = mask_tensors({block: each})
        rows.append(
            {
                "block": block,
                "sparsity": sparsity(each),
                "sparsity_by_head": [sparsity(head) for head in each],
                "global_tokens": global_tokens(each).tolist(),
                "keys_a_query": {
                    "min": int(keys.min()),
                    "mean": float(keys.mean()),
                    "max": int(keys.max()),
                },
                "file_bytes": sum(tensor.nbytes for tensor in tensors.values()),
                "bitmap_bytes": -(-each.size // 8),
            }
        )
    return rows


def mask_counts(kept: Masks) -> tuple[int, ...]:
    """Kept scores of each block, 0 where all are: `ModelConfig.masks`."""
    return tuple(0 if each.all() else int(each.sum()) for each in kept)


def with_masks(model: Model, kept: Masks) -> Model:
    """Give a quantised model masks, instead of any it has.

    kept : bool [blocks, heads, queries, keys]; a block that keeps all scores gets none
    """
    config = model.config
    wanted = (config.depth, config.heads, config.tokens, config.tokens)
    if kept.shape != wanted:
        raise QuantizeError(f"masks must be {list(wanted)}, not {list(kept.shape)}")
    empty = np.argwhere(~kept.any(axis=-1))
    if len(empty):
        block, head, query = empty[0]
        raise QuantizeError(f"masks: block {block}, head {head}, query {query} keeps no key")
    tensors = {name: value for name, value in model.tensors.items() if ".attn.mask." not in name}
    counts = mask_counts(kept)
    tensors |= mask_tensors({block: kept[block] for block, count in enumerate(counts) if count})
    return replace(model, config=replace(config, masks=counts), tensors=tensors)
