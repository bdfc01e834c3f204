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
        return _of_timm(path.with_name("config.json"), config)
    return Settings(
        heads=config.get("num_attention_heads"),
        image_size=_side(config.get("image_size")),
        mean=_numbers(pixels.get("image_mean")),
        std=_numbers(pixels.get("image_std")),
        norm_epsilon=config.get("layer_norm_eps"),
        activation=config.get("hidden_act"),
        pooling="mean" if config.get("model_type") in MEAN_TYPES else None,
        kind=config.get("model_type"),
    )


def _of_timm(path: Path, config: dict[str, Any]) -> Settings:
    pretrained, arguments = (config.get(key) or {} for key in ("pretrained_cfg", "model_args"))
    if not isinstance(pretrained, dict) or not isinstance(arguments, dict):
        raise QuantizeError(f"{path}: pretrained_cfg and model_args must be JSON objects")
    size = pretrained.get("input_size")
    known = ARCHITECTURES.get(str(config.get("architecture")).partition(".")[0])
    own = Settings(
        heads=arguments.get("num_heads"),
        image_size=_side(arguments.get("img_size", size[1:] if isinstance(size, list) else None)),
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


def _side(size: Any) -> Any:  # noqa: ANN401 - parsed JSON
    """One number of a square; anything else as it is, for the refusal."""
    return size[0] if isinstance(size, list) and len(size) == 2 and size[0] == size[1] else size


def _numbers(values: Any) -> Any:  # noqa: ANN401 - parsed JSON
    """Make a tuple of a list; anything else as it is, for the refusal."""
    return tuple(values) if isinstance(values, list) else values
