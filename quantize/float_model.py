"""Float vision transformers: safetensors by timm's parameter names."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize.errors import QuantizeError
from quantize.thresholds import parse_tau, real_thresholds
from spec.masks import MaskError, kept_scores, masked_tensors
from spec.model_config import THRESHOLDS
from spec.model_file import (
    FLOAT_PREFIX,
    Model,
    ModelConfig,
    ModelFileError,
    float_shapes,
    read_tensors,
    write_tensors,
)

__all__ = [
    "FloatModel",
    "float_model_of",
    "load_float",
    "mask_tensors",
    "rounded_to_half",
    "save_float",
]

MASK = "blocks.{}.attn.mask"
NORM_EPSILON = 1e-6
"""timm's default for vision transformers."""
KEPT_METADATA = ("recipe", "seed", "epochs", "top1_test", "top1_held_back", "licence", "source")


@dataclass(frozen=True, kw_only=True)
class FloatModel:
    """A float ViT: parameters by timm's names, and the normalisation of its pixels."""

    config: ModelConfig
    parameters: Mapping[str, NDArray[np.floating]]
    mean: tuple[float, ...]
    """Per channel, of pixels in 0..1."""
    std: tuple[float, ...]
    norm_epsilon: float = NORM_EPSILON
    kept: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)
    """Of each block with a mask: the kept scores [heads, queries, keys]."""
    tau: tuple[Mapping[str, Any], ...] = ()
    """Of each block, if it has thresholds: by a name of `THRESHOLDS` the magnitude up to which
    values become 0, a number or one a head. Scores before they are scaled by 1 / sqrt(head_dim);
    probabilities as shares of their row's largest."""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check names, shapes and values."""
        self._check_sieves()
        shapes = float_shapes(self.config)
        for kind, names in (
            ("missing", shapes.keys() - self.parameters.keys()),
            ("unknown", self.parameters.keys() - shapes.keys()),
        ):
            if names:
                raise QuantizeError(f"{kind} parameter {min(names)}")
        for name, shape in shapes.items():
            value = self.parameters[name]
            if value.shape != shape:
                raise QuantizeError(
                    f"{name}: must have shape {list(shape)}, not {list(value.shape)}"
                )
            if not np.isfinite(value).all():
                raise QuantizeError(f"{name}: holds values that are not finite (NaN or inf)")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != self.config.channels or not all(map(math.isfinite, values)):
                raise QuantizeError(
                    f"{name} must be {self.config.channels} finite numbers, not {values}"
                )
        if min(self.std) <= 0 or not 0 < self.norm_epsilon < 1:
            raise QuantizeError("std and norm_epsilon must be positive")

    def _check_sieves(self) -> None:
        config = self.config
        counts = {n: count for n, count in enumerate(config.masks) if count}
        if {n: int(kept.sum()) for n, kept in self.kept.items()} != counts:
            raise QuantizeError("config: masks must be the numbers of kept scores")
        if len(self.tau) != (config.depth if config.thresholds else 0):
            raise QuantizeError("thresholds need a tau for each block, and no others have one")
        for block, tau in enumerate(self.tau):
            for name, value in tau.items():
                if name not in THRESHOLDS:
                    raise QuantizeError(f"tau: {name} is none of {', '.join(THRESHOLDS)}")
                if not (np.isfinite(value) & (np.asarray(value) >= 0)).all():
                    raise QuantizeError(f"tau: blocks.{block}: {name} must be at least 0")

    def __getitem__(self, name: str) -> NDArray[np.floating]:
        """Return the parameter of that name."""
        return self.parameters[name]


def load_float(path: str | os.PathLike[str]) -> FloatModel:
    """Read a float model as training writes it.

    The metadata holds `config` (JSON), `mean` and `std` (a number or a JSON list, one a channel)
    and optionally `norm_epsilon`; with thresholds also `tau`, JSON as `parse_tau` takes it. Masks
    are tensors as in a quantised model's file.
    """
    path = Path(path)
    try:
        metadata, tensors = read_tensors(path)
        if metadata.get("format") is not None and "config" not in metadata:
            raise ModelFileError(f"{path}: metadata 'config' is missing")
        config = ModelConfig.from_json(metadata.get("config"), where=str(path))
        delta1 = _numbers(metadata, "delta1", 1, "1")[0]
        if delta1 != 1:
            raise QuantizeError(
                f"trained with delta1 = {delta1:g} in its GELU, and the machine computes GELU with "
                "delta1 = 1; train with delta1 = 1"
            )
        masks = {name: tensors.pop(name) for name in list(tensors) if ".attn.mask." in name}
        for name, tensor in tensors.items():
            if tensor.dtype.kind != "f":
                raise ModelFileError(f"{path}: {name}: must be floats, not {tensor.dtype}")
        return FloatModel(
            config=config,
            parameters={name: tensor.astype(np.float32) for name, tensor in tensors.items()},
            mean=_numbers(metadata, "mean", config.channels),
            std=_numbers(metadata, "std", config.channels),
            norm_epsilon=_numbers(metadata, "norm_epsilon", 1, str(NORM_EPSILON))[0],
            kept=_kept(config, masks),
            tau=_tau(metadata, config),
            provenance={key: metadata[key] for key in KEPT_METADATA if key in metadata},
        )
    except ModelFileError as error:
        raise QuantizeError(str(error)) from None
    except QuantizeError as error:
        raise QuantizeError(f"{path}: {error}") from None


def save_float(model: FloatModel, path: str | os.PathLike[str]) -> None:
    """Write a float model as `load_float` reads it."""
    metadata = {
        "config": json.dumps(asdict(model.config), sort_keys=True),
        "mean": json.dumps(list(model.mean)),
        "std": json.dumps(list(model.std)),
        "norm_epsilon": json.dumps(model.norm_epsilon),
        **{key: str(value) for key, value in model.provenance.items() if key in KEPT_METADATA},
    }
    if model.tau:
        metadata["tau"] = json.dumps(model.tau, default=np.ndarray.tolist)
    try:
        write_tensors(Path(path), {**model.parameters, **mask_tensors(model.kept)}, metadata)
    except ModelFileError as error:
        raise QuantizeError(str(error)) from None


def rounded_to_half(model: FloatModel) -> FloatModel:
    """Round the parameters to float16: what a model file carries, and the float reference."""
    parameters = {}
    for name, value in model.parameters.items():
        with np.errstate(over="ignore"):
            parameters[name] = value.astype(np.float16).astype(np.float32)
        if not np.isfinite(parameters[name]).all():
            raise QuantizeError(f"{name}: holds values beyond float16 (65,504)")
    return replace(model, parameters=parameters)


def float_model_of(model: Model) -> FloatModel:
    """Take the float reference out of a quantised model."""
    try:
        return FloatModel(
            config=model.config,
            parameters={
                name: model[FLOAT_PREFIX + name].astype(np.float32)
                for name in float_shapes(model.config)
            },
            mean=tuple(map(float, model.provenance["mean"])),
            std=tuple(map(float, model.provenance["std"])),
            norm_epsilon=float(model.provenance["norm_epsilon"]),
            kept={
                n: model.kept_scores(n) for n in range(model.config.depth) if model.config.masked(n)
            },
            tau=real_thresholds(model),
        )
    except (KeyError, TypeError) as error:
        raise QuantizeError(
            f"model's provenance lacks mean, std or norm_epsilon: {error}"
        ) from None


def mask_tensors(kept: Mapping[int, NDArray[np.bool_]]) -> dict[str, NDArray[Any]]:
    """Masks by block as tensors of a model file."""
    tensors: dict[str, NDArray[Any]] = {}
    for block, scores in kept.items():
        pointers, indices = masked_tensors(scores)
        tensors[f"{MASK.format(block)}.pointers"] = pointers
        tensors[f"{MASK.format(block)}.indices"] = indices
    return tensors


def _kept(config: ModelConfig, tensors: Mapping[str, NDArray[Any]]) -> dict[int, NDArray[np.bool_]]:
    """Masks out of a float file's tensors."""
    kept: dict[int, NDArray[np.bool_]] = {}
    for block in (n for n in range(config.depth) if config.masked(n)):
        names = [f"{MASK.format(block)}.{part}" for part in ("pointers", "indices")]
        missing = [name for name in names if name not in tensors]
        if missing:
            raise QuantizeError(f"missing tensor {missing[0]}")
        pointers, indices = (tensors[name] for name in names)
        if pointers.shape != (config.heads, config.tokens + 1) or indices.ndim != 1:
            raise QuantizeError(f"{names[0]}: must be {[config.heads, config.tokens + 1]}")
        try:
            always = config.prefix_tokens if config.stages else 0
            kept[block] = kept_scores(pointers, indices, always=always)
        except MaskError as error:
            raise QuantizeError(f"{MASK.format(block)}.{error}") from None
    return kept


def _tau(metadata: Mapping[str, str], config: ModelConfig) -> tuple[dict[str, Any], ...]:
    if not config.thresholds:
        return ()
    try:
        value = json.loads(metadata.get("tau", ""))
    except (ValueError, RecursionError):
        raise QuantizeError("metadata 'tau' must be JSON: thresholds are on") from None
    return parse_tau(value, config.depth)


def _numbers(
    metadata: Mapping[str, str], key: str, count: int, default: str = ""
) -> tuple[float, ...]:
    text = metadata.get(key, default)
    try:
        value = json.loads(text)
        values = value if isinstance(value, list) else [value] * count
        return tuple(float(item) for item in values)
    except (ValueError, TypeError, RecursionError):
        raise QuantizeError(
            f"metadata '{key}' must be a number or a JSON list of numbers, not {text[:40]!r}"
        ) from None
