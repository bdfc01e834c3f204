"""Seeded random models with the outliers that trained large models have."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from golden_model import vit
from quantize import FloatModel, quantize_model
from spec.model_file import Model, ModelConfig, Stage, float_shapes, tensor_table

SMALL = ModelConfig(
    image_size=12,
    patch_size=4,
    channels=1,
    embed_dim=16,
    depth=2,
    heads=2,
    head_dim=8,
    mlp_dim=32,
    classes=10,
    activation="gelu",
)
ODD = ModelConfig(
    image_size=15,
    patch_size=5,
    channels=3,
    embed_dim=20,
    depth=2,
    heads=3,
    head_dim=7,
    mlp_dim=37,
    classes=5,
    activation="relu",
)
WIDE = ModelConfig(
    image_size=24,
    patch_size=4,
    channels=1,
    embed_dim=72,
    depth=3,
    heads=2,
    head_dim=36,
    mlp_dim=100,
    classes=7,
    activation="gelu",
)
CONFIGS = {"small": SMALL, "odd": ODD, "wide": WIDE}


def random_float(config: ModelConfig, seed: int = 0, outliers: bool = True) -> FloatModel:
    """Weights of unit gain; with outliers: a residual channel 50 times the others, sharp heads.

    Keys get a large constant, as in trained models: only centring them saves the logits.
    """
    rng = np.random.default_rng(seed)
    parameters = {}
    for name, shape in float_shapes(config).items():
        if name.endswith("weight") and len(shape) > 1:
            value = rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
        elif "norm" in name:
            value = rng.normal(name.endswith("weight"), 0.2, shape)
        else:
            value = rng.normal(0, 0.3, shape)
        parameters[name] = value.astype(np.float32)
    if outliers:
        width = config.attention_dim
        if config.class_token:
            parameters["cls_token"][0, 0, 3] = 50
        parameters["pos_embed"][0, :, 3] += 20
        for n in range(config.depth):
            parameters[f"blocks.{n}.attn.qkv.weight"][: 2 * width] *= 8
            parameters[f"blocks.{n}.attn.qkv.bias"][width : 2 * width] += rng.normal(0, 20, width)
            parameters[f"blocks.{n}.norm1.weight"][1] *= 8
    return FloatModel(
        config=config,
        parameters=parameters,
        mean=(0.286,) * config.channels,
        std=(0.353,) * config.channels,
    )


def random_images(config: ModelConfig, count: int, seed: int = 0) -> np.ndarray:
    """Smooth random images: uint8 [count, channels, size, size]."""
    rng = np.random.default_rng(seed)
    size = config.image_size
    coarse = rng.integers(0, 256, (count, config.channels, -(-size // 4), -(-size // 4)))
    smooth = coarse.repeat(4, axis=2).repeat(4, axis=3)[:, :, :size, :size]
    noise = rng.integers(-20, 21, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def random_model(
    config: ModelConfig, seed: int = 0, outliers: bool = True, images: int = 16
) -> Model:
    """A random model, quantised over random images."""
    return quantize_model(random_float(config, seed, outliers), random_images(config, images, seed))


def with_stages(model: Model, stages: Sequence[Stage], seed: int = 0, **changes: Any) -> Model:
    """A dense model with selections of random scores: about half of the tokens go.

    changes : other fields of `ModelConfig`
    """
    rng = np.random.default_rng(seed)
    config = replace(model.config, stages=tuple(stages), **changes)
    tensors = dict(model.tensors)
    for name, (dtype, shape) in tensor_table(config).items():
        if name in tensors:
            continue
        kind = name.rpartition(".")[2]
        if dtype == "float16":
            value = rng.normal(0, 0.3, shape)
        elif kind == "weight":
            value = rng.integers(-60, 61, shape)
        elif kind == "bias":
            value = rng.integers(-2000, 2001, shape)
        elif ".mean." in name:
            value = np.full(shape, 1 << 15 if kind == "mult" else 15)
        elif kind == "mult":
            value = rng.integers(1 << 15, 1 << 16, shape)
        elif kind == "zero_point":
            value = rng.integers(-110, -90, shape)
        else:
            value = np.full(shape, 22 if ".act." in name else 18)
        tensors[name] = value.astype(dtype)
    return replace(model, config=config, tensors=tensors)


def pruned(
    model: Model,
    stages: Sequence[tuple[int, str]],
    share: float = 0.5,
    seed: int = 0,
    **changes: Any,
) -> Model:
    """A dense model with selections that drop about a share of the tokens each.

    stages : encoder block and rule of each
    changes : other fields of `ModelConfig`
    """
    images, found = random_images(model.config, 3, seed), []
    for block, rule in stages:
        result = with_stages(model, [*found, Stage(block=block, rule=rule)], seed, **changes)
        seen: dict[str, list[np.ndarray]] = {}
        for image in images:
            vit(
                result,
                image[None],
                lambda name, array, seen=seen: seen.setdefault(name, []).append(array),
            )
        scores = [
            array[:, result.config.prefix_tokens :].reshape(-1)
            for array in seen[f"blocks.{block}.selector.score"]
        ]
        threshold = max(int(np.quantile(np.concatenate(scores), share)), int(share > 0))
        found.append(Stage(block=block, rule=rule, threshold=threshold))
    return with_stages(model, found, seed, **changes)
