"""A small model with the outliers of large trained ones, which small models do not have.

Measured on a pretrained ViT-S (`docs/numerics.md`): residual channels far beyond the others, and
attention logits of hundreds of octaves, most of which is a constant in every key.
"""

import math

import numpy as np

from quantize import FloatModel, float_forward
from spec.model_config import ModelConfig
from tests.random_models import random_float, random_images

CONFIG = ModelConfig(
    image_size=32,
    patch_size=4,
    channels=3,
    embed_dim=64,
    depth=4,
    heads=2,
    head_dim=32,
    mlp_dim=128,
    classes=10,
    activation="gelu",
)
SIGMAS = 100
RAW_OCTAVES = 400
CENTRED_OCTAVES = 150
BRANCH = 0.3
"""Gain of what a half block adds: keeps the ordinary channels ordinary."""
CLS_CHANNEL, PATCH_CHANNEL = 3, 7
SINK = 0
"""Dimension of head 0 in which the CLS key stands out; queries want it or shun it."""
CONSTANT = 1
"""Dimension of every head in which keys have their constant."""


def outlier_images(count, seed=0):
    return random_images(CONFIG, count, seed)


def logit_octaves(model, images):
    """Largest |logit| of each block: as they are, and after K is centred."""
    found = {}
    float_forward(model, images, lambda name, array: found.update({name: array}))
    unit = math.log2(math.e) / math.sqrt(CONFIG.head_dim)
    raw, centred = [], []
    for n in range(CONFIG.depth):
        q, k = (found[f"blocks.{n}.attn.{kind}"].astype(np.float64) for kind in "qk")
        for keys, into in ((k, raw), (k - k.mean(axis=(0, 1)), centred)):
            heads = (x.reshape(*x.shape[:2], CONFIG.heads, -1) for x in (q, keys))
            into.append(np.abs(np.einsum("nqhd,nkhd->nhqk", *heads)).max() * unit)
    return raw, centred


def residual_sigmas(model, images):
    """Largest |x| of the residual stream over the deviation of its ordinary channels."""
    last = []

    def keep(name, array):
        if name.endswith(f"{CONFIG.depth - 1}.mlp.fc2"):
            last.append(array)

    float_forward(model, images, keep)
    ordinary = np.delete(last[0], (CLS_CHANNEL, PATCH_CHANNEL), axis=-1)
    return np.abs(last[0]).max() / ordinary.std()


def outlier_model(seed=0) -> FloatModel:
    """Build the model; block by block the logits are measured and brought to their size."""
    original = random_float(CONFIG, seed, outliers=False)
    p = {name: value.copy() for name, value in original.parameters.items()}
    dim, width, head_dim = CONFIG.embed_dim, CONFIG.attention_dim, CONFIG.head_dim
    p["cls_token"][0, 0, CLS_CHANNEL] = SIGMAS * 1.5
    p["pos_embed"][0, 1:, PATCH_CHANNEL] -= SIGMAS
    size = SIGMAS / math.sqrt(dim)
    for name in [f"blocks.{n}.norm{i}" for n in range(CONFIG.depth) for i in (1, 2)] + ["norm"]:
        p[f"{name}.weight"] *= size
        p[f"{name}.weight"][[CLS_CHANNEL, PATCH_CHANNEL]] = 0.05
    for n in range(CONFIG.depth):
        for layer in ("attn.proj", "mlp.fc2"):
            p[f"blocks.{n}.{layer}.weight"] *= BRANCH
            p[f"blocks.{n}.{layer}.bias"] *= BRANCH
    images = outlier_images(8)
    model = FloatModel(config=CONFIG, parameters=p, mean=original.mean, std=original.std)
    unit = math.log2(math.e) / math.sqrt(head_dim)
    for n in range(CONFIG.depth):
        weight, bias = (p[f"blocks.{n}.attn.qkv.{kind}"] for kind in ("weight", "bias"))
        weight[SINK] *= 4  # queries that want the sink, and queries that do not
        weight[width + SINK, CLS_CHANNEL] = 100
        bias[CONSTANT:width:head_dim] += 8
        _, centred = logit_octaves(model, images)
        keys = slice(width, 2 * width)
        weight[keys] *= CENTRED_OCTAVES / centred[n]
        bias[keys] *= CENTRED_OCTAVES / centred[n]
        bias[width + CONSTANT : 2 * width : head_dim] += RAW_OCTAVES / (12 * unit)
    return model
