"""Ranges of a float model's tensors over calibration images.

Minimum and maximum everywhere, no percentile: the outlier channels and the CLS token are the
signal. Eight to sixteen images suffice for a large model, 64 for the bundled ones.

Computed in float64 and rounded to float32, so that the order in which a BLAS adds does not show:
the same model and images give the same file on every machine.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quantize.errors import QuantizeError
from quantize.float_forward import float_forward
from quantize.float_model import FloatModel

__all__ = ["BlockRanges", "Ranges", "calibrate"]

MAX_OCTAVES = 200
"""LOGIT holds 256 octaves; what calibration has not seen needs room."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BlockRanges:
    """Ranges of one encoder block."""

    norm1: Vector
    """max|x| of each channel [embed_dim]"""
    norm2: Vector
    q: Vector
    """max|q| of each head [heads]"""
    k: Vector
    """max|k - k_mean| of each head [heads]"""
    v: Vector
    context: Vector
    k_mean: Vector
    """[attention_dim]"""
    activation_low: float
    activation_high: float
    octaves: float
    """max|attention logit| after centring K"""


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Ranges of a whole model."""

    residual: float
    """max|x| of the residual stream, after every half block"""
    blocks: tuple[BlockRanges, ...]
    norm: Vector
    logits: float
    images: int


def calibrate(model: FloatModel, images: NDArray[np.uint8]) -> Ranges:
    """Run the float model over all images at once and collect its ranges.

    images : uint8 [n, height, width] or [n, channels, height, width]
    """
    if not len(images):
        raise QuantizeError("calibration needs at least one image")
    double = {name: value.astype(np.float64) for name, value in model.parameters.items()}
    model = replace(model, parameters=double)
    residual = 0.0
    found: dict[str, NDArray[np.floating]] = {}
    blocks: list[BlockRanges] = []

    def collect(name: str, array: NDArray[np.floating]) -> None:
        nonlocal residual
        if not np.isfinite(array).all():
            raise QuantizeError(f"{name}: the float model overflows on a calibration image")
        kind = name.removeprefix(f"blocks.{len(blocks)}.")
        if kind in ("patch_embed", "attn.proj", "mlp.fc2"):
            residual = max(residual, float(np.abs(array).max()))
        if kind not in ("attn.logits", "attn.probs", "mlp.fc1.linear"):
            found[kind] = array
        if kind == "mlp.fc2":
            blocks.append(_block_ranges(model, f"blocks.{len(blocks)}", found))

    float_forward(model, images, collect)
    return Ranges(
        residual=_rounded(residual),
        blocks=tuple(blocks),
        norm=_channel_max(found["norm"]),
        logits=_rounded(np.abs(found["head"]).max()),
        images=len(images),
    )


def _block_ranges(
    model: FloatModel, name: str, found: Mapping[str, NDArray[np.floating]]
) -> BlockRanges:
    heads, head_dim = model.config.heads, model.config.head_dim
    q, k = found["attn.q"], found["attn.k"]
    k_mean = k.mean(axis=(0, 1)).astype(np.float32).astype(np.float64)
    k = k - k_mean
    split_q, split_k = (
        x.reshape(*x.shape[:2], heads, head_dim).transpose(0, 2, 1, 3) for x in (q, k)
    )
    largest = np.abs(split_q @ split_k.transpose(0, 1, 3, 2)).max()
    octaves = float(largest) * math.log2(math.e) / math.sqrt(head_dim)
    if octaves > MAX_OCTAVES:
        raise QuantizeError(
            f"{name}.attn: logits reach {octaves:.0f} octaves on the calibration images, "
            f"at most {MAX_OCTAVES} fit"
        )

    def head_max(x: NDArray[np.floating]) -> Vector:
        return _channel_max(x).reshape(heads, head_dim).max(axis=1)

    return BlockRanges(
        norm1=_channel_max(found["norm1"]),
        norm2=_channel_max(found["norm2"]),
        q=head_max(q),
        k=head_max(k),
        v=head_max(found["attn.v"]),
        context=head_max(found["attn.context"]),
        k_mean=k_mean,
        activation_low=min(_rounded(found["mlp.fc1"].min()), 0.0),
        activation_high=max(_rounded(found["mlp.fc1"].max()), 0.0),
        octaves=octaves,
    )


def _channel_max(x: NDArray[np.floating]) -> Vector:
    largest = np.abs(x).max(axis=tuple(range(x.ndim - 1)))
    return largest.astype(np.float32).astype(np.float64)


def _rounded(x: float) -> float:
    return float(np.float32(x))
