"""What the tensors of a model do not say: heads, pixel normalisation, epsilon, activation, pooling.

From the command line, else from a named architecture, else from the `config.json` (and Hugging
Face's `preprocessor_config.json`) that lies beside the weights.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from quantize.architectures import ARCHITECTURES, Architecture
from quantize.errors import QuantizeError

__all__ = ["Settings", "settings_beside", "settings_of"]

PLAIN_TYPES = ("vit", "deit", "dinov2", "ijepa")
"""Hugging Face's `model_type` of pre-norm transformers."""
MEAN_TYPES = ("ijepa",)
"""Those whose head reads the mean of the patches."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """None: not known."""

    heads: int | None = None
    image_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    norm_epsilon: float | None = None
    activation: str | None = None
    pooling: str | None = None
    """`token` is the CLS row, `mean` (timm says `avg`) the mean of the patches, `distilled` the
    rows of CLS and distillation token."""
    kind: str | None = None
    """Hugging Face's `model_type`."""
    architecture: Architecture | None = None

    def or_else(self, other: "Settings") -> "Settings":
        """Fill in from `other` what is not known."""
        merged = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            merged[entry.name] = getattr(other, entry.name) if value is None else value
        return Settings(**merged)


def settings_of(described: Architecture) -> Settings:
    """What a named architecture says."""
    mean, std = described.normalisation
    return Settings(
        heads=described.heads,
        image_size=described.image_size,
        mean=mean,
        std=std,
        norm_epsilon=1e-6,
        activation="gelu",
        pooling=described.pooling,
        architecture=described,
    )


def settings_beside(path: Path) -> Settings:
    """Read `config.json` and `preprocessor_config.json` in the folder of the weights."""
    config = _json(path.with_name("config.json"))
    pixels = _json(path.with_name("preprocessor_config.json"))
    if "pretrained_cfg" in config or "architecture" in config:
        return _of_timm(config)
    return Settings(
        heads=config.get("num_attention_heads"),
        image_size=config.get("image_size"),
        mean=_numbers(pixels.get("image_mean")),
        std=_numbers(pixels.get("image_std")),
        norm_epsilon=config.get("layer_norm_eps"),
        activation=config.get("hidden_act"),
        pooling="mean" if config.get("model_type") in MEAN_TYPES else None,
        kind=config.get("model_type"),
    )


def _of_timm(config: dict[str, Any]) -> Settings:
    pretrained = config.get("pretrained_cfg") or {}
    arguments = config.get("model_args") or {}
    known = ARCHITECTURES.get(str(config.get("architecture")).partition(".")[0])
    own = Settings(
        heads=arguments.get("num_heads"),
        image_size=arguments.get("img_size", (pretrained.get("input_size") or [None])[-1]),
        mean=_numbers(pretrained.get("mean")),
        std=_numbers(pretrained.get("std")),
        pooling=config.get("global_pool"),
    )
    return own.or_else(
        Settings(
            heads=known.heads if known else None,
            norm_epsilon=1e-6 if known else None,
            activation="gelu" if known else None,
        )
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError, RecursionError) as error:
        raise QuantizeError(f"{path}: not readable JSON: {error}") from None
    if not isinstance(content, dict):
        raise QuantizeError(f"{path}: must be a JSON object")
    return content


def _numbers(values: Any) -> tuple[float, ...] | None:  # noqa: ANN401 - parsed JSON
    return None if values is None else tuple(float(value) for value in values)
