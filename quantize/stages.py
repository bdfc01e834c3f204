"""Stages for a model that was trained without: random selectors, and thresholds that force counts.

For measurements of speed only. The machine scores and selects as it always does; which tokens go
on has no meaning, but how many do is chosen.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.collect import Watch, discard
from golden_model.encoder_block import encoder_blocks
from golden_model.norm import norm
from golden_model.patch_embed import patch_embed
from golden_model.stage import Sequences, select
from golden_model.token_selector import token_selector
from quantize.errors import QuantizeError
from quantize.tables import multiplier_shift
from spec.formats import GELU, SCORE, WEIGHT
from spec.model_config import ModelConfig
from spec.model_file import FLOAT_PREFIX, Model, Stage, tensor_table
from spec.pixels import batch_of

__all__ = ["force_keep", "kept_counts", "with_stages"]

WEIGHT_STD = 40
CODE_STD = 25
"""About that of normalised int8 rows, and of GELU codes."""
GELU_STD = 1.0
"""Of GELU inputs."""
GELU_LARGEST = 4.0
"""GELU outputs that still have codes of their own."""
GELU_ZERO = -117
"""Code of 0: the outputs go down to -0.17."""
SPREAD = 448
"""Wanted std of keep logits and of attention logits over tokens, in their units: 3.5 octaves,
and 1.75: scores then spread over all of 0..1."""

Tensors = dict[str, NDArray[Any]]


def with_stages(
    model: Model, stages: Sequence[Stage], images: NDArray[np.uint8], seed: int = 0
) -> Model:
    """Add stages to a model without stages.

    Random weights; biases and scales of the last layers are set so that the scores of the images'
    tokens spread. The float originals are random too, and have nothing to do with the integers.
    images : uint8 [n, height, width] or [n, channels, height, width]
    """
    if model.config.stages:
        raise QuantizeError("stages are added to a model without stages only")
    config = replace(model.config, stages=tuple(stages))
    tensors: Tensors = dict(model.tensors)
    table = tensor_table(config)
    for name, (dtype, shape) in table.items():
        if name not in tensors:
            layer = name.rpartition(".")[0]
            _, weight = table.get(f"{layer}.weight", ("", (1, 1)))
            inputs = weight[-1 if layer.endswith(".keep") else -2]
            tensors[name] = _random(name, dtype, shape, inputs, seed)
    out = replace(
        model,
        config=config,
        tensors=tensors,
        provenance={**model.provenance, "stages": "random"},
    )
    _spread_scores(out, tensors, images)
    return out


def force_keep(model: Model, image: NDArray[np.uint8], ratios: Sequence[float]) -> Model:
    """Set each stage's threshold so that a wanted share of the patches is left for this image.

    ratios : for each stage the share of all patches that goes on, package tokens not counted; the
        nearest one where tokens have equal scores
    """
    config = model.config
    if len(ratios) != len(config.stages):
        raise QuantizeError(f"{len(config.stages)} stages need as many ratios, not {len(ratios)}")
    wanted = [round(ratio * config.patches) for ratio in ratios]
    tokens = Sequences.whole(patch_embed(model, batch_of(image[None], config)))
    stages: list[Stage] = []
    block = 0
    for stage, count in zip(config.stages, wanted, strict=True):
        h, probs = encoder_blocks(model, tokens.h, tokens.origin, block, stage.block)
        tokens = replace(tokens, h=h)
        score = Watch(discard, f"blocks.{stage.block}.selector.score")
        list(select(model, stage, tokens, probs, score))
        last = score.seen.shape[1] - tokens.packages
        behind = score.seen[0, config.prefix_tokens : last]
        stage = replace(stage, threshold=_threshold(behind, count))
        (_, tokens), *_ = select(model, stage, tokens, probs, discard)
        stages.append(replace(stage, tokens=tokens.h.shape[1]))
        block = stage.block
    return replace(model, config=replace(config, stages=tuple(stages)))


def kept_counts(config: ModelConfig, ratios: Sequence[float]) -> tuple[int, ...]:
    """Tokens behind each stage, package included, if those shares of the patches are left."""
    counts, before = [], config.patches
    packages = 0
    for ratio in ratios:
        kept = min(round(ratio * config.patches), before)
        dropped = kept < before or (packages and config.packages == "merged")
        if config.package == "none":
            kept = max(kept, 1)
        elif dropped:
            packages = packages + 1 if config.packages == "each" else 1
        counts.append(config.prefix_tokens + kept + packages)
        before = kept
    return tuple(counts)


def _threshold(scores: NDArray[np.uint16], count: int) -> int:
    """The threshold that nearly `count` scores reach; the higher one of two that are as near."""
    ordered = np.sort(scores.astype(np.int64))[::-1]
    candidates = np.unique(np.append(ordered, ordered[0] + 1))[::-1]
    reached = np.searchsorted(-ordered, -candidates, side="right")
    best = int(candidates[np.abs(reached - count).argmin()])
    return min(best, SCORE.high)


def _random(name: str, dtype: str, shape: tuple[int, ...], inputs: int, seed: int) -> NDArray[Any]:
    """One tensor, from a stream of its own; `inputs` of its layer are of about `CODE_STD`."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    if name.startswith(FLOAT_PREFIX):
        return rng.normal(0, 0.1, shape).astype(dtype)
    if name.endswith(".weight"):
        codes = np.rint(rng.normal(0, WEIGHT_STD, shape))
        return np.clip(codes, WEIGHT.low, WEIGHT.high).astype(dtype)
    layer, _, kind = name.rpartition(".")
    if kind == "zero_point":
        return np.full(shape, GELU_ZERO, dtype)
    if kind == "bias":
        return np.zeros(shape, dtype)
    multiplier, shift = multiplier_shift(_scale(layer, inputs), name)
    return np.full(shape, (multiplier if kind == "mult" else shift)[0], dtype)


def _scale(layer: str, inputs: int) -> float:
    """Real factor of a requantization; `_spread_scores` sets that of the last layers."""
    if layer.endswith(".act"):
        unit = GELU.input_unit / (1 << GELU.fourth_bits - GELU.output_shift)
        return unit * (127 - GELU_ZERO) / GELU_LARGEST
    if layer.endswith(".mean"):
        return 1.0
    return GELU_STD / GELU.input_unit / (inputs**0.5 * WEIGHT_STD * CODE_STD)


def _spread_scores(model: Model, tensors: Tensors, images: NDArray[np.uint8]) -> None:
    """Set bias and scale of each selector's two last layers, so that their results spread."""
    tokens = Sequences.whole(patch_embed(model, batch_of(images, model.config)))
    block = 0
    for stage in model.config.stages:
        h, _ = encoder_blocks(model, tokens.h, tokens.origin, block, stage.block)
        tokens = replace(tokens, h=h)
        block = stage.block
        if stage.rule != "selector":
            continue
        name = f"blocks.{block}.selector"
        x = norm(model, f"blocks.{block}.norm1", h)
        for layer, seen_as in (("keep", "keep"), ("attn2", "attend")):
            seen = Watch(discard, f"{name}.{seen_as}")
            token_selector(model, name, x, seen)
            values = seen.seen[:, model.config.prefix_tokens :].astype(np.float64)
            values = values.reshape(-1, values.shape[-1])
            factor = np.ldexp(
                tensors[f"{name}.{layer}.mult"].astype(np.float64),
                -tensors[f"{name}.{layer}.shift"].astype(int),
            )
            bias = -np.rint(values.mean(axis=0) / factor)
            spread = np.maximum(values.std(axis=0), 1)
            multiplier, shift = multiplier_shift(factor * SPREAD / spread, f"{name}.{layer}")
            tensors[f"{name}.{layer}.bias"] = bias.astype(np.int32)
            tensors[f"{name}.{layer}.mult"] = multiplier
            tensors[f"{name}.{layer}.shift"] = shift
