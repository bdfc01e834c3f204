"""What a fine-tuning starts from: a bundled model, and masks of its averaged attention."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from quantize.calibrate import calibrate
from quantize.float_model import FloatModel, float_model_of
from quantize.masks import average_attention, prune_to_sparsity
from spec.model_config import Stage
from spec.model_file import load

from .datasets import DataSet
from .errors import TrainingError
from .vit import VitConfig

__all__ = ["BUNDLED", "Beginning", "begin", "bundled"]

BUNDLED = Path(__file__).resolve().parent.parent / "models"
CENTRING_IMAGES = 64
"""From which the mean key is taken that thresholds must not see."""


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """Weights of a trained model, and the masks made from it."""

    config: VitConfig
    """Of the model as it was."""
    parameters: dict[str, Tensor]
    kept: dict[int, np.ndarray]
    """Of each block: kept scores bool [heads, tokens, tokens]; none without masks."""


def begin(
    name: str, data: DataSet, *, sparsity: float, mask_images: int, centred: bool
) -> Beginning:
    """Read a bundled model's float weights.

    sparsity : of the masks made from its attention over the first training images; 0: no masks
    centred : take the mean key away from all keys, which changes no attention
    """
    model = _read(name)
    kept = {}
    if sparsity:
        maps = average_attention(model, data.train.images[:mask_images])
        masks, _ = prune_to_sparsity(maps, sparsity, model.config.prefix_tokens)
        kept = dict(enumerate(masks))
    if centred:
        model = _centred(model, data.train.images[:CENTRING_IMAGES])
    return _beginning(model, kept)


def bundled(name: str) -> Beginning:
    """A bundled model's float weights, as a teacher."""
    return _beginning(_read(name), {})


def _read(name: str) -> FloatModel:
    path = BUNDLED / f"{name}.safetensors"
    if not path.is_file():
        raise TrainingError(f"start: there is no bundled model '{name}'")
    return float_model_of(load(path))


def _beginning(model: FloatModel, kept: dict[int, np.ndarray]) -> Beginning:
    return Beginning(
        config=_config(model),
        parameters={key: torch.from_numpy(value) for key, value in model.parameters.items()},
        kept=kept,
    )


def _centred(model: FloatModel, images: np.ndarray) -> FloatModel:
    config, parameters = model.config, dict(model.parameters)
    for block, ranges in enumerate(calibrate(model, images).blocks):
        name = f"blocks.{block}.attn.qkv.bias"
        bias = parameters[name].copy()
        bias[config.attention_dim : 2 * config.attention_dim] -= ranges.k_mean
        parameters[name] = bias
    return replace(model, parameters=parameters)


def _config(model: FloatModel) -> VitConfig:
    """The model's shape as training has it."""
    known = {field.name for field in fields(VitConfig)}
    values = json.loads(json.dumps(asdict(model.config)))
    stages = tuple(Stage(**stage) for stage in values["stages"])
    values = {key: value for key, value in values.items() if key in known}
    return VitConfig(**{**values, "stages": stages, "efforts": ()})
