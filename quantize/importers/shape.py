"""The shape of a foreign model, from the shapes of its tensors; nothing is read yet."""

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from quantize.importers.settings import PLAIN_TYPES, Settings
from quantize.importers.table import Row, Verdict
from spec.model_config import ModelConfig, ModelFileError, float_shapes

__all__ = ["Shapes", "config_of", "folded_rows", "position_grid"]

Shapes = Mapping[str, tuple[int, ...]]
"""Canonical name -> shape."""
Refuse = Callable[[str, str], None]
POOLINGS = {
    None: None,
    "": None,
    "token": "token",
    "distilled": "distilled",
    "mean": "mean",
    "avg": "mean",
}
"""As libraries call them -> as `ModelConfig` does; None: not known."""
HEADS = ("head", "head_dist")
FIRST = "blocks.0.mlp.fc1.weight"
DIMENSIONS = {
    "pos_embed": (2, 3),
    "patch_embed.proj.weight": (4,),
    FIRST: (2,),
    "blocks.0.mlp.fc2.weight": (2,),
    "head.weight": (2,),
}
"""Of the tensors whose shapes make the model's."""


class Grid(NamedTuple):
    """Rows of the position embedding: side of the square of patches, and rows before them."""

    side: int
    prefix: int


def position_grid(rows: int, prefix_tokens: int = 1) -> Grid | None:
    """Tell the patches' rows from those before them; None if they make no square."""
    for prefix in (prefix_tokens, 0):
        patches = rows - prefix
        if patches > 0 and (side := math.isqrt(patches)) ** 2 == patches:
            return Grid(side, prefix)
    return None


def config_of(
    shapes: Shapes, settings: Settings, distillation_has_head: bool = True
) -> tuple[ModelConfig | None, list[Row]]:
    """Infer the model's shape; the rows say what is missing, odd or impossible.

    distillation_has_head : whether a distillation token always has a head beside that of CLS
    """
    rows: list[Row] = []

    def refuse(layer: str, why: str) -> None:
        rows.append(Row(layer, Verdict.UNSUPPORTED, why))

    numbers = sorted({int(n) for name in shapes for n in re.findall(r"^blocks\.(\d+)\.", name)})
    if not numbers:
        refuse("blocks", "missing: there is no encoder block")
    for number in sorted(set(range(numbers[-1] if numbers else 0)) - set(numbers)):
        refuse(f"blocks.{number}", f"missing, though there is a block {numbers[-1]}")
    for name, wanted in DIMENSIONS.items():
        if name not in shapes:
            if name in ("pos_embed", "patch_embed.proj.weight") or (name == FIRST and 0 in numbers):
                refuse(name, "missing")
        elif len(shapes[name]) not in wanted:
            found = list(shapes[name])
            refuse(name, f"has shape {found}, must have {' or '.join(map(str, wanted))} dimensions")
    _settle(settings, refuse)
    pooling = _pooling(shapes, settings, distillation_has_head, refuse)
    if rows:
        return None, rows

    kernel, position = shapes["patch_embed.proj.weight"], shapes["pos_embed"]
    if kernel[2] != kernel[3]:
        refuse("patch_embed.proj", f"has shape {list(kernel)}; patches must be square")
        return None, rows
    _check_pixels(settings, kernel[1], refuse)
    dim = kernel[0]
    prefix = [name for name in ("cls_token", "dist_token") if name in shapes]
    grid = position_grid(position[-2], len(prefix))
    if grid is None:
        beside = f" nor that and {' and '.join(prefix)}" if prefix else ""
        refuse("pos_embed", f"has shape {list(position)}: neither a square of patches{beside}")
        return None, rows
    heads = settings.heads or 1
    if dim % heads:
        refuse("heads", f"{heads} do not divide the {dim} channels")
        return None, rows
    classes, width = shapes.get("head.weight", (dim, dim))
    if width == 2 * dim:
        refuse("head", f"takes {width} inputs, CLS beside the patch mean; it may take only one")
    hidden, outputs = shapes[FIRST][0], shapes.get("blocks.0.mlp.fc2.weight")
    if outputs and hidden == 2 * outputs[-1]:
        refuse("blocks.0.mlp", "fc1 is twice as wide as fc2: a gated MLP (SwiGLU, GEGLU)")
    if rows:
        return None, rows
    try:
        config = ModelConfig(
            image_size=settings.image_size or grid.side * kernel[2],
            patch_size=kernel[2],
            channels=kernel[1],
            embed_dim=dim,
            depth=len(numbers),
            heads=heads,
            head_dim=dim // heads,
            mlp_dim=hidden,
            classes=classes,
            activation=settings.activation or "gelu",
            class_token="cls_token" in shapes,
            distillation_token="dist_token" in shapes,
            pooling=pooling,
        )
    except ModelFileError as error:
        refuse("model", str(error))
        return None, rows
    rows += _mismatches(config, shapes, settings)
    return config, rows


def folded_rows(config: ModelConfig, shapes: Shapes) -> list[Row]:
    """What is absent or different, and means the same in the project's form."""
    rows = []
    grid = position_grid(shapes["pos_embed"][-2], config.prefix_tokens)
    side = config.image_size // config.patch_size
    if grid and grid.prefix < config.prefix_tokens:
        rows.append(Row("pos_embed", Verdict.FOLDED, "no row for the tokens before the patches: 0"))
    if grid and grid.side != side:
        rows.append(
            Row(
                "pos_embed",
                Verdict.FOLDED,
                f"resampled from {grid.side} x {grid.side} to {side} x {side}, bicubic",
            )
        )
    for name in float_shapes(config):
        layer = name.removesuffix(".bias")
        absent = name.endswith(".bias") and name not in shapes and not _part(shapes, name)
        if absent and (layer not in HEADS or f"{layer}.weight" in shapes):
            rows.append(Row(layer, Verdict.FOLDED, "no bias: zeros"))
    if config.pooling == "mean":
        why = "mean of the normalised patches: attention with equal scores"
        rows.append(Row("pooling", Verdict.SUPPORTED, why))
    if config.pooling == "distilled":
        why = "mean of two heads: one layer over both rows, with half of each weight"
        rows.append(Row("head, head_dist", Verdict.FOLDED, why))
    if "head.weight" not in shapes:
        rows.append(Row("head", Verdict.FOLDED, "none: identity, the outputs are the features"))
    return rows


def _settle(settings: Settings, refuse: Refuse) -> None:
    absent = "not in the tensors; name the architecture or give them"
    if settings.heads is None:
        refuse("heads", absent)
    if settings.mean is None or settings.std is None:
        refuse("mean and std", absent)
    epsilon = settings.norm_epsilon
    if epsilon is not None and not (_is_number(epsilon) and 0 < epsilon < 1):
        refuse("norm", f"epsilon must be a number between 0 and 1, not {epsilon!r}")
    if settings.heads is not None and not (isinstance(settings.heads, int) and settings.heads > 0):
        refuse("heads", f"must be a positive integer, not {settings.heads!r}")
    if settings.activation not in (None, "gelu", "relu"):
        refuse("mlp.act", f"activation '{settings.activation}': must be gelu or relu")
    if settings.kind not in (None, *PLAIN_TYPES):
        refuse("model", f"'{settings.kind}' is not a plain pre-norm ViT, DeiT, DINOv2 or I-JEPA")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and value is not True and abs(value) < math.inf


def _check_pixels(settings: Settings, channels: int, refuse: Refuse) -> None:
    for name, values in (("mean", settings.mean), ("std", settings.std)):
        found = list(values) if isinstance(values, tuple) else []
        sound = len(found) == channels and all(map(_is_number, found))
        if not sound or (name == "std" and min(found) <= 0):
            kind = "positive numbers" if name == "std" else "numbers"
            refuse(name, f"must be {channels} {kind}, one a channel, not {found or repr(values)}")


def _pooling(
    shapes: Shapes, settings: Settings, distillation_has_head: bool, refuse: Refuse
) -> str:
    """What the head reads, as `ModelConfig` names it."""
    if not isinstance(settings.pooling, str | None) or settings.pooling not in POOLINGS:
        refuse(
            "pooling",
            f"'{settings.pooling}': the head reads CLS rows or the mean of the patches",
        )
        return "token"
    wanted = POOLINGS[settings.pooling]
    has_token = "dist_token" in shapes
    has_heads = {name for name in HEADS if any(key.startswith(f"{name}.") for key in shapes)}
    distilled = "head_dist" in has_heads or (has_token and distillation_has_head)
    if distilled or wanted == "distilled":
        if wanted == "mean":
            refuse("pooling", "the mean of the patches, but there is a head of distillation")
        for name, there in (
            ("cls_token", "cls_token" in shapes),
            ("dist_token", has_token),
            ("head_dist", not has_heads or "head_dist" in has_heads),
            ("head", not has_heads or "head" in has_heads),
        ):
            if not there:
                refuse(name, "missing; distillation has two tokens and two heads")
        return "distilled"
    if "cls_token" in shapes:
        return wanted or "token"
    if has_token:
        refuse("cls_token", "missing, though there is a distillation token")
    elif wanted is None:
        refuse(
            "pooling", "no class token, and not in the tensors; name the architecture or give it"
        )
    elif wanted == "token":
        refuse("cls_token", "missing, and the head reads its row")
    return "mean"


def _part(shapes: Shapes, name: str) -> bool:
    """Whether one of the separate projections is there instead."""
    return any(name.replace(".qkv.", f".{part}.") in shapes for part in "qkv")


def _mismatches(config: ModelConfig, shapes: Shapes, settings: Settings) -> list[Row]:
    rows = []
    expected = float_shapes(config)
    if described := settings.architecture:
        fields = ("embed_dim", "patch_size", "depth", "class_token", "distillation_token")
        for name in fields:
            wanted, got = getattr(described.config, name), getattr(config, name)
            if wanted != got:
                rows.append(Row(name, Verdict.UNSUPPORTED, f"{got}, the named model has {wanted}"))
    headless = not any(key.startswith(("head.", "head_dist.")) for key in shapes)
    for name, shape in expected.items():
        if name in ("cls_token", "dist_token", "pos_embed"):
            continue
        if ".qkv." in name and name not in shapes:
            part = (config.attention_dim, *shape[1:])
            expected_parts = {name.replace(".qkv.", f".{kind}."): part for kind in "qkv"}
        else:
            expected_parts = {name: shape}
        for key, wanted in expected_parts.items():
            optional = key.endswith("bias") and "norm" not in key
            optional |= headless and key.startswith(("head.", "head_dist."))
            if key not in shapes:
                if not optional:
                    rows.append(Row(key, Verdict.UNSUPPORTED, "missing"))
            elif shapes[key] != wanted:
                why = (
                    f"has shape {list(shapes[key])}, the model's other tensors want {list(wanted)}"
                )
                rows.append(Row(key, Verdict.UNSUPPORTED, why))
    odd = []
    for name, shape in shapes.items():
        if name.endswith(".gamma") and shape != (config.embed_dim,):
            odd.append(name)
    for name in ("cls_token", "dist_token"):
        if name in shapes and math.prod(shapes[name]) != config.embed_dim:
            odd.append(name)
    if shapes["pos_embed"][-1] != config.embed_dim:
        odd.append("pos_embed")
    for name in odd:
        why = f"has shape {list(shapes[name])}, the model has {config.embed_dim} channels"
        rows.append(Row(name, Verdict.UNSUPPORTED, why))
    return rows
