"""The shape of a foreign model, from the shapes of its tensors; nothing is read yet."""

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from quantize.importers.dialect import MEAN_POOLED
from quantize.importers.settings import PLAIN_TYPES, Settings
from quantize.importers.table import Row, Verdict
from spec.model_config import ModelConfig, ModelFileError, float_shapes

__all__ = ["Shapes", "config_of", "folded_rows", "position_grid"]

Shapes = Mapping[str, tuple[int, ...]]
"""Canonical name -> shape."""


class Grid(NamedTuple):
    """Rows of the position embedding: side of the square of patches, and whether CLS has one."""

    side: int
    with_cls: bool


def position_grid(rows: int) -> Grid | None:
    """Tell the patches' rows from the CLS row; None if they make no square."""
    for extra in (1, 0):
        if (side := math.isqrt(rows - extra)) ** 2 == rows - extra:
            return Grid(side, bool(extra))
    return None


def config_of(shapes: Shapes, settings: Settings) -> tuple[ModelConfig | None, list[Row]]:
    """Infer the model's shape; the rows say what is missing, odd or impossible."""
    rows: list[Row] = []

    def refuse(layer: str, why: str) -> None:
        rows.append(Row(layer, Verdict.UNSUPPORTED, why))

    if "cls_token" not in shapes:
        refuse("cls_token", f"missing; {MEAN_POOLED}")
    for name in ("pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"):
        if name not in shapes:
            refuse(name, "missing")
    _settle(settings, refuse)
    numbers = sorted({int(n) for name in shapes for n in re.findall(r"^blocks\.(\d+)\.", name)})
    for number in sorted(set(range(numbers[-1] + 1 if numbers else 0)) - set(numbers)):
        refuse(f"blocks.{number}", f"missing, though there is a block {numbers[-1]}")
    if rows:
        return None, rows

    kernel, position = shapes["patch_embed.proj.weight"], shapes["pos_embed"]
    if len(kernel) != 4 or kernel[2] != kernel[3]:
        refuse("patch_embed.proj", f"{list(kernel)}: patches must be square")
        return None, rows
    dim = kernel[0]
    grid = position_grid(position[-2]) if len(position) in (2, 3) else None
    if grid is None:
        refuse("pos_embed", f"{list(position)}: neither a square of patches nor that and CLS")
        return None, rows
    heads = settings.heads or 1
    if dim % heads:
        refuse("heads", f"{heads} do not divide the {dim} channels")
        return None, rows
    classes, width = shapes.get("head.weight", (dim, dim))
    if width == 2 * dim:
        refuse("head", f"takes {width} inputs, CLS beside the patch mean; {MEAN_POOLED}")
    hidden, outputs = shapes["blocks.0.mlp.fc1.weight"][0], shapes.get("blocks.0.mlp.fc2.weight")
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
        )
    except ModelFileError as error:
        refuse("model", str(error))
        return None, rows
    rows += _mismatches(config, shapes, settings)
    return config, rows


def folded_rows(config: ModelConfig, shapes: Shapes) -> list[Row]:
    """What is absent or different, and means the same in the project's form."""
    rows = []
    grid = position_grid(shapes["pos_embed"][-2])
    side = config.image_size // config.patch_size
    if grid and not grid.with_cls:
        rows.append(Row("pos_embed", Verdict.FOLDED, "no row for CLS: that row is 0"))
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
        if absent and (layer != "head" or "head.weight" in shapes):
            rows.append(Row(layer, Verdict.FOLDED, "no bias: zeros"))
    if "head.weight" not in shapes:
        rows.append(Row("head", Verdict.FOLDED, "none: identity, the outputs are the CLS features"))
    return rows


def _settle(settings: Settings, refuse: Callable[[str, str], None]) -> None:
    for name, value in (("heads", settings.heads), ("mean and std", settings.mean)):
        if value is None:
            refuse(name, "not in the tensors; name the architecture or give them")
    if settings.heads is not None and not (isinstance(settings.heads, int) and settings.heads > 0):
        refuse("heads", f"must be a positive integer, not {settings.heads!r}")
    if settings.pooling not in (None, "", "token"):
        refuse("pooling", f"'{settings.pooling}': {MEAN_POOLED}")
    if settings.activation not in (None, "gelu", "relu"):
        refuse("mlp.act", f"activation '{settings.activation}': must be gelu or relu")
    if settings.kind not in (None, *PLAIN_TYPES):
        refuse("model", f"'{settings.kind}' is not a plain pre-norm ViT, DeiT or DINOv2")


def _part(shapes: Shapes, name: str) -> bool:
    """Whether one of the separate projections is there instead."""
    return any(name.replace(".qkv.", f".{part}.") in shapes for part in "qkv")


def _mismatches(config: ModelConfig, shapes: Shapes, settings: Settings) -> list[Row]:
    rows = []
    expected = float_shapes(config)
    if described := settings.architecture:
        for name in ("embed_dim", "patch_size", "depth"):
            wanted, got = getattr(described, name), getattr(config, name)
            if wanted != got:
                rows.append(Row(name, Verdict.UNSUPPORTED, f"{got}, the named model has {wanted}"))
    for name, shape in expected.items():
        if name in ("cls_token", "pos_embed"):
            continue
        if ".qkv." in name and name not in shapes:
            part = (config.attention_dim, *shape[1:])
            expected_parts = {name.replace(".qkv.", f".{kind}."): part for kind in "qkv"}
        else:
            expected_parts = {name: shape}
        for key, wanted in expected_parts.items():
            optional = key.startswith("head.") or (key.endswith("bias") and "norm" not in key)
            if key not in shapes:
                if not optional:
                    rows.append(Row(key, Verdict.UNSUPPORTED, "missing"))
            elif shapes[key] != wanted:
                why = (
                    f"has shape {list(shapes[key])}, the model's other tensors want {list(wanted)}"
                )
                rows.append(Row(key, Verdict.UNSUPPORTED, why))
    for name, shape in shapes.items():
        if name.endswith(".gamma") and shape != (config.embed_dim,):
            rows.append(Row(name, Verdict.UNSUPPORTED, f"has shape {list(shape)}"))
    if math.prod(shapes["cls_token"]) != config.embed_dim:
        rows.append(Row("cls_token", Verdict.UNSUPPORTED, f"shape {list(shapes['cls_token'])}"))
    if shapes["pos_embed"][-1] != config.embed_dim:
        rows.append(Row("pos_embed", Verdict.UNSUPPORTED, f"shape {list(shapes['pos_embed'])}"))
    return rows
