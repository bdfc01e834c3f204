"""Shapes and machines on which a model does not fit whole, and DeiT-T."""

import dataclasses
from functools import cache
from itertools import zip_longest

from spec.config import Config
from spec.model_file import Model, ModelConfig, Stage
from spec.presets import preset
from tests.random_models import random_model, with_stages

DEIT_TINY = ModelConfig(
    image_size=224,
    patch_size=16,
    channels=3,
    embed_dim=192,
    depth=12,
    heads=3,
    head_dim=64,
    mlp_dim=768,
    classes=1000,
    activation="gelu",
)
DEIT_SMALL = dataclasses.replace(DEIT_TINY, embed_dim=384, heads=6, mlp_dim=1536)
VIT_SMALL_14 = dataclasses.replace(DEIT_SMALL, patch_size=14)
DEIT_BASE = dataclasses.replace(DEIT_TINY, embed_dim=768, heads=12, mlp_dim=3072)
HUNDRED = ModelConfig(
    image_size=100,
    patch_size=10,
    channels=3,
    embed_dim=64,
    depth=2,
    heads=2,
    head_dim=32,
    mlp_dim=256,
    classes=10,
    activation="gelu",
)
"""Too large for `tiny` as it is."""
SPILLING = dataclasses.replace(
    HUNDRED,
    image_size=40,
    patch_size=4,
    channels=1,
    embed_dim=128,
    heads=4,
    mlp_dim=1200,
)
"""Too large for `tiny` even in tiles, and with layers too long for its row memory."""
SEVENTEEN = ModelConfig(
    image_size=16,
    patch_size=4,
    channels=3,
    embed_dim=16,
    depth=3,
    heads=2,
    head_dim=8,
    mlp_dim=128,
    classes=30,
    activation="gelu",
)
SHAPES = {
    "even depth": dataclasses.replace(SEVENTEEN, depth=2, mlp_dim=64),
    "odd depth": SEVENTEEN,
    "one block": dataclasses.replace(SEVENTEEN, depth=1, classes=3, activation="relu"),
    "wide context": dataclasses.replace(SEVENTEEN, heads=3, head_dim=10, channels=1),
    "short mlp": dataclasses.replace(SEVENTEEN, depth=2, mlp_dim=16),
    "narrow context": dataclasses.replace(SEVENTEEN, embed_dim=21, heads=1, head_dim=7),
    "four groups": dataclasses.replace(SEVENTEEN, heads=4, head_dim=8, depth=2),
    "distilled": dataclasses.replace(
        SEVENTEEN, embed_dim=21, heads=1, distillation_token=True, pooling="distilled"
    ),
    "mean": dataclasses.replace(SEVENTEEN, depth=2, mlp_dim=64, pooling="mean"),
    "no class token": dataclasses.replace(
        SEVENTEEN, heads=3, head_dim=10, channels=1, class_token=False, pooling="mean"
    ),
}
CASES = {
    # shape, parameters of the machine; tiles of patches, tiles of tokens
    "two tiles": ("even depth", {"token_words": 180}, [], [9, 8]),
    "three tiles": ("even depth", {"token_words": 155}, [6, 5, 5], [6, 6, 5]),
    "six tiles": ("odd depth", {"token_words": 155}, [6, 5, 5], [3, 3, 3, 3, 3, 2]),
    "one slot of everything": (
        "odd depth",
        {"token_words": 200, "norm_tables": 2, "column_tables": 1, "queue_depth": 1},
        [],
        [6, 6, 5],
    ),
    "one block": ("one block", {"token_words": 160}, [6, 5, 5], [3, 3, 3, 3, 3, 2]),
    "smallest row memory": ("odd depth", {"token_words": 200, "row_words": 32}, [], [6, 6, 5]),
    "whole, smallest row memory": ("even depth", {"row_words": 16}, [], []),
    "wide context": ("wide context", {"token_words": 310}, [], [6, 6, 5]),
    "narrow context": ("narrow context", {"token_words": 300}, [], [9, 8]),
    "patches only": ("short mlp", {"token_words": 155}, [6, 5, 5], []),
    "distilled": ("distilled", {"token_words": 300}, [], [6, 6, 6]),
    "mean": ("mean", {"token_words": 155}, [6, 5, 5], [6, 6, 5]),
    "mean, whole, smallest row memory": ("mean", {"row_words": 16}, [], []),
    "no class token": ("no class token", {"token_words": 310}, [], [8, 8]),
}
SPILLED = {
    # shape, parameters of the machine; tiles of tokens, chunks of the longest layer
    "three tiles": ("even depth", {"token_words": 120}, [6, 6, 5], 1),
    "five tiles": ("odd depth", {"token_words": 100}, [4, 4, 3, 3, 3], 1),
    "in chunks": ("odd depth", {"token_words": 140, "row_words": 24}, [5, 4, 4, 4], 3),
    "one block": ("one block", {"token_words": 100}, [4, 4, 3, 3, 3], 1),
    "one slot of everything": (
        "odd depth",
        {"token_words": 140, "norm_tables": 4, "column_tables": 1, "queue_depth": 1},
        [6, 6, 5],
        1,
    ),
    "wide context": ("wide context", {"token_words": 200}, [6, 6, 5], 1),
    "narrow context": ("narrow context", {"token_words": 120}, [4, 4, 3, 3, 3], 1),
    "four groups": ("four groups", {"token_words": 140, "row_words": 64}, [5, 4, 4, 4], 1),
    "distilled": ("distilled", {"token_words": 200}, [6, 6, 6], 1),
    "mean": ("mean", {"token_words": 100}, [6, 6, 5], 1),
    "mean, one slot of everything": (
        "mean",
        {"token_words": 120, "row_words": 20, "norm_tables": 4, "column_tables": 1}
        | {"queue_depth": 1},
        [6, 6, 5],
        1,
    ),
    "no class token": ("no class token", {"token_words": 200}, [6, 5, 5], 1),
}
EXPECTED = {"none": (3, 3), "half": (9, 5), "most": (12, 11), "all": (16, 2)}
"""Tokens that programs with selections are laid out for: tiles that grow or shrink."""
SPILLED_STAGES = {
    # shape, rules of the selections before block 1 on; parameters; tiles of tokens, words of slices
    "two rules": (
        "odd depth",
        ("selector", "cls_attention"),
        {"token_words": 120},
        [5, 4, 4, 4],
        [2, 2],
    ),
    "one slice": ("odd depth", ("selector", "selector"), {"token_words": 160}, [6, 6, 5], [4]),
    "attention of CLS": (
        "odd depth",
        ("cls_attention", "cls_attention"),
        {"token_words": 100},
        [4, 4, 3, 3, 3],
        [4],
    ),
    "in chunks": (
        "odd depth",
        ("cls_attention", "selector"),
        {"token_words": 120, "row_words": 24},
        [4, 4, 3, 3, 3],
        [2, 2],
    ),
    "one slot of everything": (
        "odd depth",
        ("selector", "selector"),
        {"token_words": 120, "norm_tables": 4, "column_tables": 1, "queue_depth": 1},
        [5, 4, 4, 4],
        [2, 2],
    ),
    "distilled": ("distilled", ("selector", "selector"), {"token_words": 150}, [6, 6, 6], [4, 2]),
    "mean": ("mean", ("selector",), {"token_words": 120}, [6, 6, 5], [2, 2]),
    "four groups": (
        "four groups",
        ("selector",),
        {"token_words": 120, "row_words": 64},
        [5, 4, 4, 4],
        [2, 2],
    ),
}
"""Selections in programs that spill."""


@cache
def model_of(shape: str) -> Model:
    """A random model of a shape."""
    return random_model(SHAPES[shape], outliers=False)


def selecting(shape: str, *rules: str, expected: tuple[int, ...] = ()) -> Model:
    """A random model with selections before its blocks 1 on.

    expected : tokens that these are expected to leave
    """
    stages = [Stage(block=number, rule=rule) for number, rule in enumerate(rules, start=1)]
    model = with_stages(model_of(shape), stages)
    return expecting(model, expected)


def expecting(model: Model, expected: tuple[int, ...]) -> Model:
    """The same model with numbers of tokens that are expected behind its stages."""
    stages = tuple(
        dataclasses.replace(stage, tokens=count or 0)
        for stage, count in zip_longest(model.config.stages, expected)
        if stage
    )
    return dataclasses.replace(model, config=dataclasses.replace(model.config, stages=stages))


def machine_of(changes: dict[str, int]) -> Config:
    """The tiny machine with other parameters."""
    return dataclasses.replace(preset("tiny"), name="cramped", **changes)
