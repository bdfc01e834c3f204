"""Multi-head self-attention in float, with a mask, thresholds and ViTCoD's auto-encoder."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from quantize.float_layers import linear
from quantize.float_model import FloatModel
from quantize.thresholds import cleared

__all__ = ["float_attention", "folded_qkv"]

Array = NDArray[np.floating]


def float_attention(
    model: FloatModel,
    block: int,
    x: Array,
    origin: NDArray[np.int64],
    give: Callable[[str, Array], None],
) -> Array:
    """Attend, as `golden_model.attention` does in integers.

    x : [n, tokens, embed_dim], normalised
    origin : [n, tokens], the token of the image that each row is
    give : gets q, k (both behind the auto-encoder), v, logits, probs and context
    result : [n, tokens, embed_dim], to be added to the residual stream
    """
    config, name = model.config, f"blocks.{block}.attn"
    tau = model.tau[block] if model.tau else {}
    n, tokens, _ = x.shape
    qkv = linear(x, *folded_qkv(model, block))
    heads = []
    for kind, part in zip("qkv", np.split(qkv, 3, axis=-1), strict=True):
        part = cleared(part, tau.get(kind, 0))
        give(f"{name}.{kind}", part)
        split = part.reshape(n, tokens, config.heads, config.head_dim).swapaxes(1, 2)
        heads.append(np.ascontiguousarray(split))
    q, k, v = heads
    scores = cleared(q @ k.swapaxes(-1, -2), tau.get("scores", 0)) * config.head_dim**-0.5
    if config.masked(block):
        kept = _kept_pairs(model.kept[block], origin)
        give(f"{name}.logits", np.where(kept, scores, 0))
        scores = np.where(kept, scores, -np.inf)
    else:
        give(f"{name}.logits", scores)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    # relative to the row's largest, and the sum is that of all: see `threshold_units`
    probs = cleared(weights, tau.get("probs", 0)) / weights.sum(axis=-1, keepdims=True)
    give(f"{name}.probs", probs)
    context = (probs @ v).swapaxes(1, 2).reshape(n, tokens, config.attention_dim)
    context = cleared(context, tau.get("context", 0))
    give(f"{name}.context", context)
    out = linear(context, model[f"{name}.proj.weight"], model[f"{name}.proj.bias"])
    return cleared(out, tau.get("proj", 0))


def folded_qkv(model: FloatModel, block: int) -> tuple[Array, Array]:
    """Weight and bias of qkv, with the auto-encoder of Q and K folded in (ViTCoD).

    Encoder and decoder are two linear layers over the heads, the same for every channel of a head;
    without a non-linearity between them they are one, and qkv's rows can be mixed instead.
    result : [3 * attention_dim, embed_dim], [3 * attention_dim]
    """
    config, name = model.config, f"blocks.{block}.attn"
    weight, bias = model[f"{name}.qkv.weight"], model[f"{name}.qkv.bias"]
    if not config.auto_encoder:
        return weight, bias
    weights = weight.reshape(3, config.heads, config.head_dim, -1).copy()
    biases = bias.reshape(3, config.heads, config.head_dim).copy()
    for index, kind in enumerate("qk"):
        encode, decode = (f"{name}.{kind}_{part}" for part in ("encode", "decode"))
        mix = model[f"{decode}.weight"] @ model[f"{encode}.weight"]
        offset = model[f"{decode}.weight"] @ model[f"{encode}.bias"] + model[f"{decode}.bias"]
        weights[index] = np.einsum("oh,hdi->odi", mix, weights[index])
        biases[index] = mix @ biases[index] + offset[:, None]
    return weights.reshape(weight.shape), biases.reshape(bias.shape)


def _kept_pairs(kept: NDArray[np.bool_], origin: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Kept scores between the tokens that are left; package tokens are global.

    kept : [heads, tokens, tokens]
    result : [n, heads, rows, rows]
    """
    more = max(int(origin.max(initial=0)) + 1 - kept.shape[1], 0)
    kept = np.pad(kept, ((0, 0), (0, more), (0, more)), constant_values=True)
    return kept[:, origin[:, :, None], origin[:, None, :]].swapaxes(0, 1)
