"""The token selector (HeatViT): scores from a small network of its own for every head."""

import numpy as np
from numpy.typing import NDArray

from golden_model.collect import Collect, discard
from golden_model.linear import linear
from golden_model.patch_mean import patch_mean
from golden_model.units.gelu import gelu_activation
from golden_model.units.matmul import matmul_exact
from golden_model.units.requantize import requantize
from golden_model.units.token_score import classifier_score
from spec.formats import LOGIT, RESIDUAL
from spec.model_file import Model

__all__ = ["token_selector"]


def token_selector(
    model: Model, name: str, x: NDArray[np.int8], collect: Collect = discard
) -> NDArray[np.int64]:
    """Scores of all tokens; those of the tokens before the patches mean nothing.

    x : ACT [n, tokens, embed_dim], normalised
    collect : gets local, global, score1, score2 int8 [n, tokens, heads * width] (global: of the
        rows behind the prefix), mean int8 [n, 1, heads * width], keep and attend int16
        [n, tokens, heads], attn1 int8 [n, tokens, width]
    result : SCORE [n, tokens]
    """
    config = model.config
    n, tokens, dim = x.shape
    heads = config.heads
    slices = x.reshape(n, tokens, heads, dim // heads)

    def give(part: str, values: NDArray[np.integer]) -> None:
        collect(f"{name}.{part}", values.reshape(n, values.shape[1], -1))

    local = _gelu(model, name, "local", _by_head(model, f"{name}.local", slices))
    give("local", local)
    behind = slices[:, config.prefix_tokens :]
    wide = _gelu(model, name, "global", _by_head(model, f"{name}.global", behind), act="local")
    give("global", wide)
    mean = patch_mean(model, f"{name}.mean", wide.reshape(n, wide.shape[1], -1))
    collect(f"{name}.mean", mean)

    zero = _zero_point(model, name, "local")
    both = np.concatenate(
        [local, np.broadcast_to(mean.reshape(n, 1, heads, -1), local.shape)], axis=-1
    )
    hidden = _by_head(model, f"{name}.score1", both.astype(np.int16) - zero)
    hidden = _gelu(model, name, "score1", hidden)
    give("score1", hidden)
    zero = _zero_point(model, name, "score1")
    hidden = _by_head(model, f"{name}.score2", hidden.astype(np.int16) - zero)
    hidden = _gelu(model, name, "score2", hidden)
    give("score2", hidden)
    zero = _zero_point(model, name, "score2")
    weight = model[f"{name}.keep.weight"].astype(np.int64)
    acc = ((hidden.astype(np.int64) - zero) * weight).sum(axis=-1)
    keep = _scaled(model, f"{name}.keep", acc, LOGIT.low, LOGIT.high).astype(np.int16)
    collect(f"{name}.keep", keep)

    u = linear(model, f"{name}.attn1", x, RESIDUAL.low, RESIDUAL.high)
    hidden = _gelu(model, name, "attn1", u)
    collect(f"{name}.attn1", hidden)
    zero = _zero_point(model, name, "attn1")
    attend = linear(
        model, f"{name}.attn2", hidden.astype(np.int16) - zero, RESIDUAL.low, RESIDUAL.high
    ).astype(np.int16)
    collect(f"{name}.attend", attend)
    return classifier_score(keep, attend)


def _by_head(model: Model, name: str, x: NDArray[np.integer]) -> NDArray[np.int64]:
    """Each head's own fully connected layer: [n, tokens, heads, inputs] to [..., outputs]."""
    weight = model[f"{name}.weight"]
    acc = matmul_exact(x.swapaxes(1, 2), weight).swapaxes(1, 2)
    return _scaled(model, name, acc, RESIDUAL.low, RESIDUAL.high)


def _scaled(
    model: Model, name: str, acc: NDArray[np.integer], low: int, high: int
) -> NDArray[np.int64]:
    bias, multiplier, shift = (model[f"{name}.{kind}"] for kind in ("bias", "mult", "shift"))
    return requantize(acc, bias, multiplier, shift, low, high)


def _zero_point(model: Model, name: str, part: str) -> int:
    return int(model[f"{name}.{part}.act.zero_point"][0])


def _gelu(
    model: Model, name: str, part: str, u: NDArray[np.int64], act: str = ""
) -> NDArray[np.int8]:
    """GELU codes of a layer; `act` : the layer whose scale they have, if not its own."""
    where = f"{name}.{act or part}.act"
    multiplier, shift = (int(model[f"{where}.{kind}"][0]) for kind in ("mult", "shift"))
    zero_point = int(model[f"{where}.zero_point"][0])
    return gelu_activation(u, multiplier, shift, zero_point).astype(np.int8)
