"""The float forward pass in numpy: the reference of accuracy, and the source of ranges."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import DTypeLike, NDArray

from quantize.float_attention import float_attention
from quantize.float_layers import float_gelu, float_norm, linear
from quantize.float_model import FloatModel
from quantize.float_selector import Decisions, FloatSequences, float_select
from quantize.thresholds import cleared
from spec.efforts import Effort, tensor_prefix
from spec.formats import GATE
from spec.pixels import PIXEL_OFFSET, patches_of

__all__ = [
    "effort_forward",
    "entropy",
    "float_block",
    "float_embed",
    "float_encode_block",
    "float_forward",
    "float_head",
    "head_parameters",
    "prefix_rows",
]

Array = NDArray[np.floating]
Collect = Callable[[str, Array], None]


def float_forward(
    model: FloatModel,
    images: NDArray[np.uint8],
    collect: Collect | None = None,
    decisions: Decisions | None = None,
) -> Array:
    """Class logits of a batch, in the precision of the model's parameters.

    images : uint8 [n, height, width] or [n, channels, height, width]
    collect : called with (name, array [n, ...]) for every tensor that the integer model exposes,
        under the same names; `blocks.N.mlp.fc1` is the output of the activation. Images that
        keep different numbers of tokens part at a stage, as in `golden_model.vit`
    decisions : which tokens stay at the stages, instead of those whose scores reach the threshold
    result : float [n, classes], of each image's last effort
    """
    give = collect or (lambda name, array: None)
    passes = model.config.passes
    logits = np.zeros((len(images), model.config.classes), model["pos_embed"].dtype)
    left = np.arange(len(images))
    for number, effort in enumerate(passes):
        prefix = tensor_prefix(number, len(passes))
        logits[left] = effort_forward(model, images[left], effort, give, decisions, prefix)
        if number < len(passes) - 1:
            threshold = effort.threshold / (1 << GATE.fraction_bits)
            left = left[entropy(logits[left]) > threshold]
    return logits


def effort_forward(
    model: FloatModel,
    images: NDArray[np.uint8],
    effort: Effort,
    collect: Collect,
    decisions: Decisions | None = None,
    prefix: str = "",
) -> Array:
    """One pass over all images; arguments as in `float_forward`.

    prefix : before the names of the tensors
    """
    give = (lambda name, array: collect(prefix + name, array)) if prefix else collect
    x = float_embed(model, images, model["pos_embed"].dtype, give)
    logits = np.zeros((len(x), model.config.classes), x.dtype)
    whole = FloatSequences.whole(x, np.arange(len(x)))
    for tokens in _encode(model, effort, 0, whole, give, decisions):
        logits[tokens.images] = float_head(model, tokens.x, give)
    return logits


def entropy(logits: Array) -> Array:
    """Entropy of softmax over the last axis, in bits."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    weights = np.exp(shifted)
    total = weights.sum(axis=-1)
    return (np.log(total) - (weights * shifted).sum(axis=-1) / total) / np.log(2)


def _encode(
    model: FloatModel,
    effort: Effort,
    first: int,
    tokens: FloatSequences,
    give: Collect,
    decisions: Decisions | None,
) -> Iterator[FloatSequences]:
    """The residual streams behind the last block, from those before block `first`."""
    stages = {stage.block: stage for stage in model.config.stages}
    for number in range(first, model.config.depth):
        tokens = float_encode_block(model, number, tokens, give, number not in effort.skipped)
        if number + 1 in stages:
            for group in float_select(model, stages[number + 1], tokens, give, decisions):
                yield from _encode(model, effort, number + 1, group, give, decisions)
            return
    yield tokens


def float_encode_block(
    model: FloatModel,
    number: int,
    tokens: FloatSequences,
    give: Collect,
    attends: bool = True,
) -> FloatSequences:
    """One encoder block; keeps what CLS attends to, if the next stage is to decide by it.

    attends : without it neither norm1 nor attention are there
    """
    wanted = any(
        stage.block == number + 1 and stage.rule == "cls_attention" for stage in model.config.stages
    )
    seen: list[Array] = []

    def watch(name: str, array: Array) -> None:
        if wanted and name.endswith("attn.probs"):
            seen.append(array[:, :, 0].sum(axis=1))
        give(name, array)

    x = float_block(model, number, tokens.x, tokens.origin, watch, attends)
    return replace(tokens, x=x, attended=seen[0] if seen else None)


def float_embed(
    model: FloatModel, images: NDArray[np.uint8], dtype: DTypeLike, give: Collect
) -> Array:
    """Images to the initial residual stream [n, tokens, embed_dim], in the precision `dtype`."""
    config = model.config
    rows = patches_of(images, config)
    n, area = len(rows), config.patch_size**2
    kernel = model["patch_embed.proj.weight"].reshape(config.embed_dim, -1)
    mean, std = (np.repeat(np.array(v, dtype), area) for v in (model.mean, model.std))
    pixels = (rows.astype(dtype) + PIXEL_OFFSET) / 255
    embedded = linear((pixels - mean) / std, kernel, model["patch_embed.proj.bias"])
    prefix = prefix_rows(model)
    prefix = np.broadcast_to(prefix, (n, *prefix.shape))
    x = np.concatenate([prefix, embedded], axis=1) + model["pos_embed"]
    give("patch_embed", x)
    return x


def float_head(model: FloatModel, x: Array, give: Collect) -> Array:
    """Class logits of the residual stream [n, tokens, embed_dim]."""
    config = model.config
    final = float_norm(model, "norm", x[:, config.head_rows.start : config.head_rows.stop])
    give("norm", final)
    if config.pooling == "mean":
        final = final.mean(axis=1, keepdims=True)
        give("pool", final)
    weight, bias = head_parameters(model)
    logits = linear(final.reshape(len(x), config.head_depth), weight, bias)
    give("head", logits)
    return logits


def prefix_rows(model: FloatModel) -> Array:
    """Rows before the patches [prefix_tokens, embed_dim], without their position embedding."""
    names = [name for name in ("cls_token", "dist_token") if name in model.parameters]
    rows = [model[name].reshape(1, -1) for name in names]
    return np.concatenate([*rows, np.zeros((0, model.config.embed_dim), model["pos_embed"].dtype)])


def head_parameters(model: FloatModel) -> tuple[Array, Array]:
    """Weight [classes, head_depth] and bias [classes] of the head as one layer over one row.

    The mean of two heads' logits is one layer over both rows, with half of each weight.
    """
    heads = ["head", "head_dist"] if model.config.pooling == "distilled" else ["head"]
    weight = np.concatenate([model[f"{name}.weight"] for name in heads], axis=1) / len(heads)
    return weight, np.mean([model[f"{name}.bias"] for name in heads], axis=0)


def float_block(
    model: FloatModel,
    number: int,
    x: Array,
    origin: NDArray[np.int64],
    give: Collect,
    attends: bool = True,
) -> Array:
    """One encoder block of the residual stream, in its precision.

    x, result : [n, tokens, embed_dim]
    origin : [n, tokens], the token of the image that each row is
    attends : without it neither norm1 nor attention are there
    """
    name = f"blocks.{number}"
    if attends:
        normal = float_norm(model, f"{name}.norm1", x)
        give(f"{name}.norm1", normal)
        x = x + float_attention(model, number, normal, origin, give)
        give(f"{name}.attn.proj", x)
    normal = float_norm(model, f"{name}.norm2", x)
    give(f"{name}.norm2", normal)
    mlp, tau = f"{name}.mlp", model.tau[number] if model.tau else {}
    hidden = linear(normal, model[f"{mlp}.fc1.weight"], model[f"{mlp}.fc1.bias"])
    give(f"{mlp}.fc1.linear", hidden)
    hidden = cleared(hidden, tau.get("fc1", 0))
    gelu = model.config.activation == "gelu"
    hidden = float_gelu(hidden) if gelu else np.maximum(hidden, 0)
    give(f"{mlp}.fc1", hidden)
    out = linear(hidden, model[f"{mlp}.fc2.weight"], model[f"{mlp}.fc2.bias"])
    x = x + cleared(out, tau.get("fc2", 0))
    give(f"{mlp}.fc2", x)
    return x
