"""Token selection in float: scores by either rule, what stays, and the package token.

The same as `golden_model.stage` and `golden_model.token_selector` in real numbers (HeatViT, eq.
3-10), under the same names.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantize.float_layers import float_gelu, float_norm, linear
from quantize.float_model import FloatModel
from spec.formats import SELECTOR
from spec.model_config import Stage

__all__ = ["Decisions", "FloatSequences", "float_select", "float_selector"]

Array = NDArray[np.floating]
Collect = Callable[[str, Array], None]
Decisions = Mapping[tuple[int, int], NDArray[np.bool_]]
"""(block, image) -> which of the tokens that the image then has stay."""

SMALLEST_WEIGHT = 1 / (1 << SELECTOR.share_bits)


@dataclass(frozen=True, kw_only=True)
class FloatSequences:
    """The residual stream of images with the same number of tokens."""

    x: Array
    """[n, tokens, embed_dim]"""
    images: NDArray[np.int64]
    """[n], their numbers"""
    origin: NDArray[np.int64]
    """[n, tokens], the token of the image that each row is; package rows count on behind them"""
    packages: int = 0
    """Package tokens of each, the last ones."""
    attended: Array | None = None
    """[n, tokens], what CLS attended to in the block before, summed over heads"""

    @classmethod
    def whole(cls, x: Array, images: NDArray[np.int64]) -> "FloatSequences":
        """Images of which no token is dropped yet."""
        return cls(x=x, images=images, origin=np.tile(np.arange(x.shape[1]), (len(x), 1)))


def float_selector(model: FloatModel, name: str, x: Array, give: Collect) -> Array:
    """Scores in 0..1 of all tokens; those of the tokens before the patches mean nothing.

    x : [n, tokens, embed_dim], normalised
    give : gets the tensors of `golden_model.token_selector`, under their names
    """
    heads, prefix = model.config.heads, model.config.prefix_tokens
    slices = x.reshape(*x.shape[:2], heads, -1)

    def layer(part: str, rows: Array) -> Array:
        weight, bias = model[f"{name}.{part}.weight"], model[f"{name}.{part}.bias"]
        outputs = np.einsum("nthi,hoi->ntho", rows, weight.astype(x.dtype, copy=False))
        return outputs + bias.astype(x.dtype, copy=False)

    def activated(part: str, linear_outputs: Array) -> Array:
        give(f"{name}.{part}.linear", linear_outputs)
        outputs = float_gelu(linear_outputs)
        give(f"{name}.{part}", outputs.reshape(*outputs.shape[:2], -1))
        return outputs

    local = activated("local", layer("local", slices))
    wide = activated("global", layer("global", slices[:, prefix:]))
    mean = wide.mean(axis=1, keepdims=True)
    give(f"{name}.mean", mean.reshape(len(x), 1, -1))
    both = np.concatenate([local, np.broadcast_to(mean, local.shape)], axis=-1)
    hidden = activated("score2", layer("score2", activated("score1", layer("score1", both))))
    logits = layer("score3", hidden)
    keep = logits[..., 0] - logits[..., 1]
    give(f"{name}.keep", keep)
    means = slices.mean(axis=-1)
    hidden = linear(means, model[f"{name}.attn1.weight"], model[f"{name}.attn1.bias"])
    hidden = activated("attn1", hidden)
    attend = linear(hidden, model[f"{name}.attn2.weight"], model[f"{name}.attn2.bias"])
    give(f"{name}.attend", attend)
    weight = np.maximum(_plan_sigmoid(attend), SMALLEST_WEIGHT)
    share = 0.5 * (1 + np.tanh(keep / 2))
    return (weight * share).sum(axis=-1) / weight.sum(axis=-1)


def float_select(
    model: FloatModel,
    stage: Stage,
    tokens: FloatSequences,
    give: Collect,
    decisions: Decisions | None = None,
) -> Iterator[FloatSequences]:
    """Drop tokens of every image; images that then have equally many go on together.

    decisions : what stays, instead of what the scores say
    """
    config, name = model.config, f"blocks.{stage.block}"
    if stage.rule == "selector":
        normal = float_norm(model, f"{name}.norm1", tokens.x)
        give(f"{name}.selector.norm", normal)
        score = float_selector(model, f"{name}.selector", normal, give)
    else:
        assert tokens.attended is not None
        score = tokens.attended
    give(f"{name}.selector.score", score)
    groups: dict[tuple[int, int], list[tuple[int, Array, NDArray[np.int64]]]] = {}
    behind = config.tokens + (tokens.packages if config.packages == "each" else 0)
    masks = []
    for number, (rows, own) in enumerate(zip(tokens.x, score, strict=True)):
        if decisions is None:
            kept = _kept(model, own >= stage.threshold / (1 << SELECTOR.score_bits), tokens)
        else:
            kept = decisions[stage.block, int(tokens.images[number])]
        masks.append(kept)
        left, packages = rows[kept], tokens.packages
        if not kept.all() and config.package != "none":
            package = _package(rows[~kept], own[~kept], weighted=config.package == "weighted")
            left = np.concatenate([left, package])
            packages = packages + 1 if config.packages == "each" else 1
        origin = tokens.origin[number, kept]
        origin = np.concatenate([origin, np.full(len(left) - len(origin), behind)])
        groups.setdefault((len(left), packages), []).append((number, left, origin))
    give(f"{name}.selector.kept", np.stack(masks))
    for (_, packages), members in sorted(groups.items()):
        numbers = [number for number, _, _ in members]
        x = np.stack([left for _, left, _ in members])
        origin = np.stack([origin for _, _, origin in members])
        give(f"{name}.selector.tokens", x)
        yield FloatSequences(x=x, images=tokens.images[numbers], origin=origin, packages=packages)


def _kept(
    model: FloatModel, reaches: NDArray[np.bool_], tokens: FloatSequences
) -> NDArray[np.bool_]:
    """Which tokens stay, by whether their scores reach the threshold."""
    config = model.config
    kept = reaches.copy()
    kept[: config.prefix_tokens] = True
    if tokens.packages:
        kept[-tokens.packages :] = config.packages == "each"
    if config.package == "none" and not kept[config.prefix_tokens :].any():
        kept[config.prefix_tokens] = True
    return kept


def _package(rows: Array, score: Array, *, weighted: bool) -> Array:
    """The mean of dropped rows [1, embed_dim] (HeatViT eq. 10)."""
    weight = score if weighted and score.sum() > 0 else np.ones_like(score)
    return (weight @ rows / weight.sum())[None]


def _plan_sigmoid(x: Array) -> Array:
    """The sigmoid in straight pieces that the integer model has."""
    unit = 1 << SELECTOR.share_bits
    size = np.abs(x)
    y, end = np.ones_like(x), SELECTOR.plan_end / unit
    for start, shift, offset in SELECTOR.plan:
        piece = (size >= start / unit) & (size < end)
        y = np.where(piece, size / (1 << shift) + offset / unit, y)
        end = start / unit
    return np.where(x < 0, 1 - y, y)
