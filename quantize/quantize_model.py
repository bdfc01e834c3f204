"""A float model and calibration images to a quantised model."""

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize.calibrate import BlockRanges, Ranges, calibrate
from quantize.efforts import gate_tensors
from quantize.errors import QuantizeError
from quantize.float_attention import folded_qkv
from quantize.float_forward import head_parameters, prefix_rows
from quantize.float_model import FloatModel, load_float, mask_tensors, rounded_to_half
from quantize.quantize_selector import input_rows, selector_tensors
from quantize.tables import (
    Tensors,
    gelu_tensors,
    linear_tensors,
    multiplier_shift,
    norm_tensors,
    scale_of,
)
from quantize.thresholds import threshold_codes
from spec.formats import GELU, NORM, RESIDUAL, SOFTMAX
from spec.model_file import FLOAT_PREFIX, Model, ModelFileError, save
from spec.pixels import PIXEL_OFFSET, PixelError

__all__ = ["quantize_file", "quantize_model"]

RESIDUAL_HEADROOM = 1.25
LOGITS_HEADROOM = 2.0
GELU_LIMIT = RESIDUAL.high * GELU.input_unit
"""Largest input that GELU's int16 holds."""

Vector = NDArray[np.float64]
Tell = Callable[[str], None]


def _silent(text: str) -> None:
    pass


def quantize_file(
    float_path: str | os.PathLike[str],
    out_path: str | os.PathLike[str],
    images: NDArray[np.uint8],
    tell: Tell = _silent,
) -> Model:
    """Quantise a float model file over calibration images, and write the model file."""
    try:
        model = quantize_model(load_float(float_path), images, tell)
        save(model, out_path)
    except PixelError as error:
        raise QuantizeError(f"{float_path}: calibration images: {error}") from None
    except ModelFileError as error:
        raise QuantizeError(str(error)) from None
    return model


def quantize_model(model: FloatModel, images: NDArray[np.uint8], tell: Tell = _silent) -> Model:
    """Quantise the model's parameters, rounded to float16, with ranges over `images`.

    images : uint8 [n, height, width] or [n, channels, height, width], 8 to 64 typical ones
    tell : gets a line for every range that the formats do not hold
    """
    model = rounded_to_half(model)
    ranges = calibrate(model, images)
    config = model.config
    for n, block in enumerate(ranges.blocks):
        if config.activation == "gelu" and block.gelu_input > GELU_LIMIT:
            tell(
                f"blocks.{n}.mlp.fc1: GELU inputs reach {block.gelu_input:.1f} on the calibration "
                f"images, the format ends at {GELU_LIMIT:.1f}; what is above is clipped"
            )
        if block.selector and block.selector.gelu_input > GELU_LIMIT:
            tell(
                f"blocks.{n}.selector: GELU inputs reach {block.selector.gelu_input:.1f} on the "
                f"calibration images, the format ends at {GELU_LIMIT:.1f}; what is above is clipped"
            )
    residual = _residual_scale(model, ranges)
    tensors: Tensors = {}
    scales: dict[str, Any] = {"residual": residual}
    tensors |= _embedding(model, residual)
    for n, block in enumerate(ranges.blocks):
        _attention(model, n, block, residual, tensors, scales)
        _mlp(model, f"blocks.{n}", block, residual, tensors, scales)
    _head(model, ranges, residual, tensors, scales)
    tensors |= mask_tensors(model.kept)
    for n, tau in enumerate(model.tau):
        tensors[f"blocks.{n}.thresholds"] = threshold_codes(config, scales, n, tau)
    for name, value in model.parameters.items():
        tensors[FLOAT_PREFIX + name] = value.astype(np.float16)
    provenance = {
        **model.provenance,
        "mean": list(model.mean),
        "std": list(model.std),
        "norm_epsilon": model.norm_epsilon,
        "calibration_images": ranges.images,
        "attention_octaves": [round(block.octaves, 2) for block in ranges.blocks],
    }
    return Model(config=config, tensors=tensors, scales=scales, provenance=provenance)


def _residual_scale(model: FloatModel, ranges: Ranges) -> float:
    scale = float(scale_of(RESIDUAL_HEADROOM * ranges.residual, RESIDUAL.high))
    # LayerNorm's epsilon must fit its 32 bits: a coarser scale makes it smaller.
    finest = model.config.embed_dim * math.sqrt(model.norm_epsilon / 2**NORM.epsilon_bits)
    return max(scale, finest * (1 + 2**-20))


def _embedding(model: FloatModel, residual: float) -> Tensors:
    """Patch embedding with the pixels' normalisation folded in, and the initial residual."""
    config = model.config
    area = config.patch_size**2
    mean, std = (np.repeat(np.array(v, np.float64), area) for v in (model.mean, model.std))
    kernel = model["patch_embed.proj.weight"].reshape(config.embed_dim, -1).astype(np.float64)
    bias = model["patch_embed.proj.bias"] + kernel @ ((PIXEL_OFFSET / 255 - mean) / std)
    tensors = linear_tensors("patch_embed", kernel, bias, 1 / (255 * std), residual)
    position = model["pos_embed"][0].astype(np.float64)
    position[: config.prefix_tokens] += prefix_rows(model)
    codes = np.clip(np.rint(position / residual), RESIDUAL.low, RESIDUAL.high)
    return tensors | {"embed.position": codes.astype(np.int16)}


def _head(
    model: FloatModel,
    ranges: Ranges,
    residual: float,
    tensors: Tensors,
    scales: dict[str, Any],
) -> None:
    """Final LayerNorm, the patches' mean if there is one, and the head as one layer."""
    config = model.config
    weight, bias = head_parameters(model)
    # Two rows share the LayerNorm, and so its scales.
    rows = weight.reshape(-1, config.embed_dim)
    fold = _folded_norm(model, "norm", ranges.norm, rows, residual, tensors)
    scales["norm"] = fold.tolist()
    if config.pooling == "mean":
        finer = float(scale_of((ranges.pool / fold).max()))
        multiplier, shift = multiplier_shift(1 / finer, "pool", 31)
        tensors |= {"pool.mult": multiplier, "pool.shift": shift}
        fold = fold * finer
        scales["pool"] = fold.tolist()
    logits = float(scale_of(LOGITS_HEADROOM * ranges.logits, RESIDUAL.high))
    inputs = np.tile(fold, config.head_depth // config.embed_dim)
    tensors |= linear_tensors("head", weight, bias, inputs, logits)
    tensors |= gate_tensors(logits) if len(config.efforts) > 1 else {}
    scales["head"] = logits


def _attention(
    model: FloatModel,
    number: int,
    ranges: BlockRanges,
    residual: float,
    tensors: Tensors,
    scales: dict[str, Any],
) -> None:
    config, block = model.config, f"blocks.{number}"
    name = f"{block}.attn"
    weight, offset = folded_qkv(model, number)
    readers = weight
    if ranges.selector:
        readers = np.concatenate([weight, input_rows(model, f"{block}.selector")])
    fold = _folded_norm(model, f"{block}.norm1", ranges.norm1, readers, residual, tensors)
    if ranges.selector:
        tensors |= selector_tensors(model, f"{block}.selector", ranges.selector, fold, scales)
    q, k, v, context = (scale_of(x) for x in (ranges.q, ranges.k, ranges.v, ranges.context))
    # A constant added to every key adds the same to all logits of a row: softmax is unchanged.
    bias = offset.astype(np.float64)
    bias[config.attention_dim : 2 * config.attention_dim] -= ranges.k_mean
    outputs = np.repeat(np.concatenate([q, k, v]), config.head_dim)
    tensors |= linear_tensors(f"{name}.qkv", weight, bias, fold, outputs)
    unit = math.log2(math.e) / math.sqrt(config.head_dim) * 2**SOFTMAX.fraction_bits
    for kind, factor, limit in (("score", q * k * unit, 48), ("out", v / context, 31)):
        multiplier, shift = multiplier_shift(factor, f"{name}.{kind}", limit)
        tensors |= {f"{name}.{kind}_mult": multiplier, f"{name}.{kind}_shift": shift}
    tensors |= linear_tensors(
        f"{name}.proj",
        model[f"{name}.proj.weight"],
        model[f"{name}.proj.bias"],
        np.repeat(context, config.head_dim),
        residual,
    )
    scales[f"{block}.norm1"] = fold.tolist()
    for kind, scale in zip(("q", "k", "v", "context"), (q, k, v, context), strict=True):
        scales[f"{name}.{kind}"] = scale.tolist()


def _mlp(
    model: FloatModel,
    block: str,
    ranges: BlockRanges,
    residual: float,
    tensors: Tensors,
    scales: dict[str, Any],
) -> None:
    name = f"{block}.mlp"
    weight, bias = model[f"{name}.fc1.weight"], model[f"{name}.fc1.bias"]
    fold = _folded_norm(model, f"{block}.norm2", ranges.norm2, weight, residual, tensors)
    if model.config.activation == "gelu":
        output, act = gelu_tensors(f"{name}.act", ranges.activation_low, ranges.activation_high)
        linear_scale = GELU.input_unit
    else:
        output = linear_scale = float(scale_of(ranges.activation_high))
        act: Tensors = {
            f"{name}.act.mult": np.zeros(1, np.uint16),
            f"{name}.act.shift": np.zeros(1, np.uint8),
            f"{name}.act.zero_point": np.zeros(1, np.int8),
        }
    tensors |= linear_tensors(f"{name}.fc1", weight, bias, fold, linear_scale) | act
    tensors |= linear_tensors(
        f"{name}.fc2", model[f"{name}.fc2.weight"], model[f"{name}.fc2.bias"], output, residual
    )
    scales[f"{block}.norm2"] = fold.tolist()
    scales[f"{name}.fc1"] = output


def _folded_norm(
    model: FloatModel,
    name: str,
    channel_max: Vector,
    weight: NDArray[np.floating],
    residual: float,
    tensors: Tensors,
) -> Vector:
    """Add a LayerNorm's tensors; return its output scale of each channel.

    Half of the spread between channels moves into the rows of the next weight (alpha = 0.5), so
    that one code range serves channels of very different size.
    """
    rows = np.abs(weight).max(axis=0).astype(np.float64)
    ratio = np.sqrt(np.where((channel_max > 0) & (rows > 0), channel_max, 1))
    ratio /= np.sqrt(np.where((channel_max > 0) & (rows > 0), rows, 1))
    ratio /= np.exp(np.log(ratio).mean())
    scale = scale_of((channel_max / ratio).max()) * ratio
    gain, offset = model[f"{name}.weight"], model[f"{name}.bias"]
    tensors |= norm_tensors(name, gain, offset, scale, residual, model.norm_epsilon)
    return scale
