"""Multi-head self-attention."""

import numpy as np
from numpy.typing import NDArray

from golden_model.collect import Collect, discard
from golden_model.linear import linear
from golden_model.units.matmul import matmul_exact
from golden_model.units.requantize import requantize
from golden_model.units.softmax import probabilities, row_scale
from spec.formats import ACT, LOGIT, RESIDUAL
from spec.model_file import Model

__all__ = ["attention"]


def attention(
    model: Model, name: str, x: NDArray[np.int8], collect: Collect = discard
) -> NDArray[np.int64]:
    """Attend from every token to every token.

    x : ACT [n, tokens, embed_dim]
    collect : gets q, k, v, logits, probs and context
    result : RESIDUAL [n, tokens, embed_dim], to be added to the residual stream
    """
    config = model.config
    n, tokens, _ = x.shape
    qkv = linear(model, f"{name}.qkv", x, ACT.low, ACT.high).astype(np.int8)
    for kind, part in zip("qkv", np.split(qkv, 3, axis=-1), strict=True):
        collect(f"{name}.{kind}", part)
    heads = qkv.reshape(n, tokens, 3, config.heads, config.head_dim)
    q, k, v = heads.transpose(2, 0, 3, 1, 4)

    def per_head(tensor: str) -> NDArray[np.integer]:
        return model[f"{name}.{tensor}"][:, None, None]

    scores = matmul_exact(q, k.swapaxes(-1, -2))
    scale, shift = per_head("score_mult"), per_head("score_shift")
    logits = requantize(scores, 0, scale, shift, LOGIT.low, LOGIT.high)
    collect(f"{name}.logits", logits.astype(np.int16))
    probs = probabilities(logits).astype(np.uint8)
    collect(f"{name}.probs", probs)

    total = probs.sum(axis=-1, keepdims=True, dtype=np.int64)
    scale, shift = row_scale(total, per_head("out_mult"), per_head("out_shift"))
    mixed = requantize(matmul_exact(probs, v), 0, scale, shift, ACT.low, ACT.high)
    context = mixed.astype(np.int8).swapaxes(1, 2).reshape(n, tokens, config.attention_dim)
    collect(f"{name}.context", context)
    return linear(model, f"{name}.proj", context, RESIDUAL.low, RESIDUAL.high)
