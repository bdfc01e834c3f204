"""The float forward pass in numpy: the reference of accuracy, and the source of ranges."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from quantize.float_model import FloatModel
from spec.pixels import PIXEL_OFFSET, patches_of

__all__ = [
    "float_block",
    "float_embed",
    "float_forward",
    "float_gelu",
    "float_head",
    "float_norm",
    "head_parameters",
    "prefix_rows",
]

Array = NDArray[np.floating]
Collect = Callable[[str, Array], None]

STEP = 1024
LIMIT = 8


def _normal_tables() -> tuple[Array, Array]:
    grid = np.arange(-LIMIT * STEP, LIMIT * STEP + 1) / STEP
    phi = [0.5 * math.erfc(-x / math.sqrt(2)) for x in grid]
    phi[0] = 0.0  # so that nothing comes of a large negative x
    density = np.exp(-grid * grid / 2) / math.sqrt(2 * math.pi)
    return np.array(phi, np.float32), density.astype(np.float32)


PHI, DENSITY = _normal_tables()


def float_gelu(x: Array) -> Array:
    """Compute x Phi(x), by the tangent of Phi at the nearest of 1,024 points a unit.

    Error of Phi: at most 2**-25 from the tangent, beside float32's own rounding.
    """
    near = np.clip(x, -LIMIT, LIMIT)
    index = np.rint(near * STEP)
    offset = near - index / STEP
    index = index.astype(np.int32) + LIMIT * STEP
    return np.multiply(x, PHI[index] + offset * DENSITY[index], dtype=x.dtype)


def float_forward(
    model: FloatModel,
    images: NDArray[np.uint8],
    collect: Collect | None = None,
) -> Array:
    """Class logits of a batch, in the precision of the model's parameters.

    images : uint8 [n, height, width] or [n, channels, height, width]
    collect : called with (name, array [n, ...]) for every tensor that the integer model exposes,
        under the same names; `blocks.N.mlp.fc1` is the output of the activation
    result : float [n, classes]
    """
    give = collect or (lambda name, array: None)
    x = float_embed(model, images, model["pos_embed"].dtype, give)
    for block in range(model.config.depth):
        x = float_block(model, block, x, give)
    return float_head(model, x, give)


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
    embedded = _linear((pixels - mean) / std, kernel, model["patch_embed.proj.bias"])
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
    logits = _linear(final.reshape(len(x), config.head_depth), weight, bias)
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


def float_block(model: FloatModel, number: int, x: Array, give: Collect) -> Array:
    """One encoder block of the residual stream [n, tokens, embed_dim], in its precision."""
    name = f"blocks.{number}"
    normal = float_norm(model, f"{name}.norm1", x)
    give(f"{name}.norm1", normal)
    x = x + _attention(model, f"{name}.attn", normal, give)
    give(f"{name}.attn.proj", x)
    normal = float_norm(model, f"{name}.norm2", x)
    give(f"{name}.norm2", normal)
    mlp = f"{name}.mlp"
    hidden = _linear(normal, model[f"{mlp}.fc1.weight"], model[f"{mlp}.fc1.bias"])
    give(f"{mlp}.fc1.linear", hidden)
    gelu = model.config.activation == "gelu"
    hidden = float_gelu(hidden) if gelu else np.maximum(hidden, 0)
    give(f"{mlp}.fc1", hidden)
    x = x + _linear(hidden, model[f"{mlp}.fc2.weight"], model[f"{mlp}.fc2.bias"])
    give(f"{mlp}.fc2", x)
    return x


def _attention(model: FloatModel, name: str, x: Array, give: Collect) -> Array:
    config = model.config
    n, tokens, _ = x.shape
    qkv = _linear(x, model[f"{name}.qkv.weight"], model[f"{name}.qkv.bias"])
    for index, part in enumerate("qkv"):
        width = config.attention_dim
        give(f"{name}.{part}", qkv[..., index * width : (index + 1) * width])
    heads = qkv.reshape(n, tokens, 3, config.heads, config.head_dim).transpose(2, 0, 3, 1, 4)
    q, k, v = np.ascontiguousarray(heads)
    scores = q @ k.transpose(0, 1, 3, 2) * config.head_dim**-0.5
    give(f"{name}.logits", scores)
    probs = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probs /= probs.sum(axis=-1, keepdims=True)
    give(f"{name}.probs", probs)
    context = (probs @ v).transpose(0, 2, 1, 3).reshape(n, tokens, config.attention_dim)
    give(f"{name}.context", context)
    return _linear(context, model[f"{name}.proj.weight"], model[f"{name}.proj.bias"])


def float_norm(model: FloatModel, name: str, x: Array) -> Array:
    """LayerNorm of rows [..., embed_dim]."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt(variance + model.norm_epsilon)
    return centred * scale * model[f"{name}.weight"] + model[f"{name}.bias"]


def _linear(x: Array, weight: Array, bias: Array) -> Array:
    """X [..., inputs] times weight [outputs, inputs], as one matrix product."""
    flat = x.reshape(-1, x.shape[-1]) @ weight.T.astype(x.dtype, copy=False)
    return (flat + bias).reshape(*x.shape[:-1], len(bias))
