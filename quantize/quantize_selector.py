"""The integer tensors of a token selector, from its float parameters and ranges."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize.calibrate import SelectorRanges
from quantize.float_model import FloatModel
from quantize.tables import Tensors, gelu_tensors, linear_tensors, multiplier_shift
from spec.formats import GELU, SELECTOR, SOFTMAX

__all__ = ["ATTEND_UNIT", "KEEP_UNIT", "input_rows", "selector_tensors"]

Vector = NDArray[np.float64]

KEEP_UNIT = 1 / (math.log2(math.e) * (1 << SOFTMAX.fraction_bits))
"""LOGIT's unit in natural logits."""
ATTEND_UNIT = 1 / (1 << SELECTOR.share_bits)


def input_rows(model: FloatModel, name: str) -> NDArray[np.floating]:
    """The weights that read the selector's input, [outputs, embed_dim]: each head has a slice."""
    parts = [model[f"{name}.{part}.weight"] for part in ("local", "global")]
    return np.concatenate([part.swapaxes(0, 1).reshape(part.shape[1], -1) for part in parts])


def selector_tensors(
    model: FloatModel, name: str, ranges: SelectorRanges, fold: Vector, scales: dict[str, Any]
) -> Tensors:
    """Tensors of `blocks.N.selector`.

    fold : the scale of each channel of its input, norm1's output
    scales : gets those of its int8 tensors
    """
    config = model.config
    full, half, _ = config.selector_dims
    tensors: Tensors = {}
    outputs: dict[str, float] = {}
    for part in ("local", "score1", "score2", "attn1"):
        outputs[part], act = gelu_tensors(f"{name}.{part}.act", ranges.low[part], ranges.high[part])
        tensors |= act
    slices = fold.reshape(config.heads, full)
    for part, inputs, unit in (
        ("local", slices, GELU.input_unit),
        ("global", slices, GELU.input_unit),
        ("score1", np.full((config.heads, 2 * half), outputs["local"]), GELU.input_unit),
        ("score2", np.full((config.heads, half), outputs["score1"]), GELU.input_unit),
    ):
        weight, bias = model[f"{name}.{part}.weight"], model[f"{name}.{part}.bias"]
        tensors |= _by_head(f"{name}.{part}", weight, bias, inputs, unit)
    multiplier, shift = multiplier_shift(1.0, f"{name}.mean", 31)
    tensors |= {f"{name}.mean.mult": multiplier, f"{name}.mean.shift": shift}
    # Only the difference of the two classes' logits counts.
    weight, bias = (
        model[f"{name}.score3.{kind}"].astype(np.float64) for kind in ("weight", "bias")
    )
    keep = _by_head(
        f"{name}.keep",
        weight[:, :1] - weight[:, 1:],
        bias[:, :1] - bias[:, 1:],
        np.full((config.heads, weight.shape[2]), outputs["score2"]),
        KEEP_UNIT,
    )
    tensors |= {part: np.ascontiguousarray(tensor[..., 0]) for part, tensor in keep.items()}
    # The mean of a head's channels goes into the first layer.
    weight = np.repeat(model[f"{name}.attn1.weight"].astype(np.float64) / full, full, axis=1)
    bias = model[f"{name}.attn1.bias"]
    tensors |= linear_tensors(f"{name}.attn1", weight, bias, fold, GELU.input_unit)
    tensors |= linear_tensors(
        f"{name}.attn2",
        model[f"{name}.attn2.weight"],
        model[f"{name}.attn2.bias"],
        outputs["attn1"],
        ATTEND_UNIT,
    )
    scales |= {f"{name}.{part}": scale for part, scale in outputs.items()}
    scales |= {f"{name}.{part}": outputs["local"] for part in ("global", "mean")}
    return tensors


def _by_head(
    name: str, weight: NDArray[np.floating], bias: NDArray[np.floating], inputs: Vector, unit: float
) -> Tensors:
    """A layer of every head, stacked.

    weight : [heads, outputs, inputs]
    inputs : scales [heads, inputs]
    """
    layers = [
        linear_tensors(name, *layer, unit) for layer in zip(weight, bias, inputs, strict=True)
    ]
    return {part: np.stack([layer[part] for layer in layers]) for part in layers[0]}
