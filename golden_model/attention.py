"""Multi-head self-attention."""

import numpy as np
from numpy.typing import NDArray

from golden_model.collect import Collect, discard
from golden_model.linear import linear
from golden_model.units.matmul import matmul_exact
from golden_model.units.requantize import requantize
from golden_model.units.softmax import probabilities, row_scale
from golden_model.units.threshold import threshold
from spec.formats import ACT, LOGIT, RESIDUAL
from spec.model_file import Model

__all__ = ["attention", "kept_pairs"]


def attention(
    model: Model,
    block: int,
    x: NDArray[np.int8],
    origin: NDArray[np.int64],
    collect: Collect = discard,
) -> NDArray[np.int64]:
    """Attend from every token to every token, or to those that the block's mask keeps.

    x : ACT [n, tokens, embed_dim]
    origin : [n, tokens], the token of the image that each row is; package rows count on behind
    collect : gets q, k, v, logits, probs and context
    result : RESIDUAL [n, tokens, embed_dim], to be added to the residual stream
    """
    config, name, limits = model.config, f"blocks.{block}.attn", model.thresholds(block)
    n, tokens, _ = x.shape
    qkv = linear(model, f"{name}.qkv", x, ACT.low, ACT.high)
    parts = []
    for kind, part in zip("qkv", np.split(qkv, 3, axis=-1), strict=True):
        part = threshold(part, limits[kind]).astype(np.int8)
        collect(f"{name}.{kind}", part)
        parts.append(part.reshape(n, tokens, config.heads, config.head_dim).swapaxes(1, 2))
    q, k, v = parts
    kept = kept_pairs(model, block, origin) if config.masked(block) else None

    def per_head(tensor: str) -> NDArray[np.integer]:
        return model[f"{name}.{tensor}"][:, None, None]

    scores = matmul_exact(q, k.swapaxes(-1, -2))
    scale, shift = per_head("score_mult"), per_head("score_shift")
    logits = requantize(scores, 0, scale, shift, LOGIT.low, LOGIT.high)
    logits = threshold(logits, limits["scores"])
    if kept is not None:
        logits = np.where(kept, logits, 0)
    collect(f"{name}.logits", logits.astype(np.int16))
    probs = probabilities(logits, kept)
    # the sum is that of all of them: a threshold does not raise what it leaves
    total = probs.sum(axis=-1, keepdims=True)
    probs = threshold(probs, limits["probs"]).astype(np.uint8)
    collect(f"{name}.probs", probs)
    scale, shift = row_scale(total, per_head("out_mult"), per_head("out_shift"))
    mixed = requantize(matmul_exact(probs, v), 0, scale, shift, ACT.low, ACT.high)
    mixed = threshold(mixed, limits["context"])
    context = mixed.astype(np.int8).swapaxes(1, 2).reshape(n, tokens, config.attention_dim)
    collect(f"{name}.context", context)
    low, high = RESIDUAL.low, RESIDUAL.high
    return linear(model, f"{name}.proj", context, low, high, limits["proj"])


def kept_pairs(model: Model, block: int, origin: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The scores that a block's mask keeps between the tokens that are left (ViTCoD).

    origin : as in `attention`; package tokens attend to all tokens, and all attend to them
    result : bool [n, heads, tokens, tokens]
    """
    kept = model.kept_scores(block)
    more = max(int(origin.max(initial=0)) + 1 - kept.shape[1], 0)
    kept = np.pad(kept, ((0, 0), (0, more), (0, more)), constant_values=True)
    return kept[:, origin[:, :, None], origin[:, None, :]].swapaxes(0, 1)
