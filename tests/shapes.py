"""Model shapes for tests of the compiler and the machine."""

from dataclasses import replace
from functools import cache

from spec.model_file import Model, ModelConfig
from spec.presets import PRESETS, preset
from tests.random_models import CONFIGS, SMALL, random_model

DEMO = ModelConfig(
    image_size=28,
    patch_size=4,
    channels=1,
    embed_dim=64,
    depth=4,
    heads=2,
    head_dim=32,
    mlp_dim=128,
    classes=10,
    activation="gelu",
)
FIVE_TOKENS = ModelConfig(
    image_size=6,
    patch_size=3,
    channels=1,
    embed_dim=20,
    depth=2,
    heads=2,
    head_dim=10,
    mlp_dim=37,
    classes=3,
    activation="gelu",
)
UNEVEN_HEADS = ModelConfig(
    image_size=8,
    patch_size=4,
    channels=3,
    embed_dim=24,
    depth=1,
    heads=3,
    head_dim=5,
    mlp_dim=40,
    classes=19,
    activation="relu",
)
TWO_TOKENS = ModelConfig(
    image_size=4,
    patch_size=4,
    channels=1,
    embed_dim=8,
    depth=1,
    heads=1,
    head_dim=8,
    mlp_dim=8,
    classes=2,
    activation="gelu",
)
DISTILLED = replace(SMALL, distillation_token=True, pooling="distilled")
DISTILLED_ODD = replace(CONFIGS["odd"], distillation_token=True, pooling="distilled")
"""Rows that are not whole words: lanes without weight between the two."""
MEAN = replace(SMALL, pooling="mean")
NO_CLASS_TOKEN = replace(CONFIGS["odd"], class_token=False, pooling="mean")
UNUSED_TOKEN = replace(FIVE_TOKENS, distillation_token=True)
"""A distillation token that the head does not read."""
ONE_PATCH = replace(TWO_TOKENS, class_token=False, pooling="mean")
SHAPES = {
    "demo": DEMO,
    "micro": SMALL,
    "five_tokens": FIVE_TOKENS,
    "uneven_heads": UNEVEN_HEADS,
    "two_tokens": TWO_TOKENS,
    "odd": CONFIGS["odd"],
    "wide": CONFIGS["wide"],
    "distilled": DISTILLED,
    "distilled_odd": DISTILLED_ODD,
    "mean": MEAN,
    "no_class_token": NO_CLASS_TOKEN,
    "unused_token": UNUSED_TOKEN,
    "one_patch": ONE_PATCH,
}
HOLDING = {name: config for name, config in PRESETS.items() if name != "small"}
"""Machines that hold every one of these shapes whole."""
SELECTING = {name: preset(f"{name},token_selector=on,cls_scores=on") for name in HOLDING}
"""These with a token selector."""
OUTLIERS = ("micro", "odd", "wide", "distilled_odd", "mean", "no_class_token")


@cache
def model_of(name: str) -> Model:
    """A random model of a named shape; outliers where the logits still fit."""
    return random_model(SHAPES[name], outliers=name in OUTLIERS)
