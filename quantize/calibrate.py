"""Ranges of a float model's tensors over calibration images.

Minimum and maximum everywhere, no percentile: the outlier channels and the CLS token are the
signal. Eight to sixteen images suffice for a large model, 64 for the bundled ones.

Of a model with efforts every image goes through all of them, and a range is that of them all. A
block whose attention every effort skips gets its attention's ranges from a pass that skips nothing,
whose other ranges count like the efforts'.

Computed in float64 and rounded to float32, so that the order in which a BLAS adds does not show:
the same model and images give the same file on every machine.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantize.errors import QuantizeError
from quantize.float_forward import float_embed, float_encode_block, float_head
from quantize.float_model import FloatModel
from quantize.float_selector import FloatSequences, float_select
from spec.efforts import Effort
from spec.pixels import batch_of

__all__ = ["BlockRanges", "Ranges", "SelectorRanges", "calibrate"]

MAX_OCTAVES = 200
"""LOGIT holds 256 octaves; what calibration has not seen needs room."""

CHUNK_ELEMENTS = 1 << 21
"""Elements of a chunk's largest tensor."""

SCORED = tuple(
    f"selector.{part}" for part in ("local", "score1", "score2", "keep", "attn1", "attend")
)
"""Beginnings of the names of a selector's tensors that have rows of the prefix tokens too."""
SHARED = {
    "selector.norm": "norm1",
    "selector.global": "selector.local",
    "selector.global.linear": "selector.local.linear",
}
"""Tensors that have the scales of others."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SelectorRanges:
    """Ranges of one token selector, over the rows behind the prefix."""

    low: Mapping[str, float]
    """Of the outputs of `local` (and `global`), `score1`, `score2`, `attn1`."""
    high: Mapping[str, float]
    gelu_input: float
    """Largest input of an activation function."""
    octaves: float
    """max|keep logit|"""


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
    gelu_input: float
    """Largest input of the activation function."""
    activation_low: float
    activation_high: float
    octaves: float
    """max|attention logit| after centring K"""
    selector: SelectorRanges | None = None


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Ranges of a whole model."""

    residual: float
    """max|x| of the residual stream, after every half block"""
    blocks: tuple[BlockRanges, ...]
    norm: Vector
    pool: Vector
    """max|x| of each channel of the patches' mean; of `norm` where there is none"""
    logits: float
    images: int


def calibrate(
    model: FloatModel,
    images: NDArray[np.uint8],
    progress: Callable[[int], None] | None = None,
) -> Ranges:
    """Run the float model over the images and collect its ranges.

    images : uint8 [n, height, width] or [n, channels, height, width]
    progress : called with the number of blocks done

    Memory: the residual streams, Q and K of one block of all images in float64, and one chunk of
    everything else: 16 images of a DeiT-B take 60 MB and 20 MB.
    """
    if not len(images):
        raise QuantizeError("calibration needs at least one image")
    config = model.config
    images = batch_of(images, config)
    widest = max(3 * config.attention_dim, config.mlp_dim, config.heads * config.tokens)
    size = max(CHUNK_ELEMENTS // (config.tokens * widest), 1)
    found = _Found(config.prefix_tokens)
    start = []
    for first in range(0, len(images), size):
        x = float_embed(model, images[first : first + size], np.float64, found)
        start.append(FloatSequences.whole(x, np.arange(first, first + len(x))))
    stages = {stage.block: stage for stage in config.stages}
    blocks = []
    efforts = list(config.passes)
    if set.intersection(*(set(effort.skipped) for effort in efforts)):
        efforts.append(Effort())
    passes = [start] * len(efforts)
    # Block by block over all images: only the residual streams of all are held at once.
    for number in range(config.depth):
        found.start_block(f"blocks.{number}.")
        for turn, (effort, streams) in enumerate(zip(efforts, passes, strict=True)):
            if number in stages:
                stage = stages[number]
                streams = [
                    group
                    for tokens in streams
                    for group in float_select(model, stage, tokens, found)
                ]
            attends = number not in effort.skipped
            passes[turn] = [
                float_encode_block(model, number, tokens, found, attends) for tokens in streams
            ]
        blocks.append(_block_ranges(model, f"blocks.{number}", found))
        if progress:
            progress(number + 1)
    found.start_block("")
    for tokens in (tokens for streams in passes for tokens in streams):
        float_head(model, tokens.x, found)
    return Ranges(
        residual=_rounded(found.residual),
        blocks=tuple(blocks),
        norm=found.largest["norm"],
        pool=found.largest.get("pool", found.largest["norm"]),
        logits=_rounded(found.largest["head"].max()),
        images=len(images),
    )


class _Found:
    """Ranges of the tensors of one block, and Q and K themselves; called as a `Collect`."""

    def __init__(self, prefix_tokens: int) -> None:
        self.residual = 0.0
        self.prefix_tokens = prefix_tokens
        self.start_block("")

    def start_block(self, prefix: str) -> None:
        """Forget all but the residual's range."""
        self.prefix = prefix
        self.largest: dict[str, Vector] = {}
        self.low: dict[str, float] = {}
        self.high: dict[str, float] = {}
        self.kept: dict[str, list[NDArray[np.floating]]] = {"attn.q": [], "attn.k": []}

    def __call__(self, name: str, array: NDArray[np.floating]) -> None:
        """Take a tensor of some images."""
        kind = name.removeprefix(self.prefix)
        if kind in ("attn.logits", "attn.probs", "selector.score", "selector.kept"):
            return
        if not np.isfinite(array).all():
            raise QuantizeError(f"{name}: the float model overflows on a calibration image")
        if kind.startswith(SCORED):
            array = array[:, self.prefix_tokens :]  # the others' scores mean nothing
        kind = SHARED.get(kind, kind)
        if kind in ("patch_embed", "attn.proj", "mlp.fc2", "selector.tokens"):
            self.residual = max(self.residual, float(np.abs(array).max()))
            return
        if kind in self.kept:
            self.kept[kind].append(array)
        largest = _channel_max(array)
        self.largest[kind] = np.maximum(self.largest.get(kind, largest), largest)
        self.low[kind] = min(self.low.get(kind, 0.0), _rounded(array.min()))
        self.high[kind] = max(self.high.get(kind, 0.0), _rounded(array.max()))


def _block_ranges(model: FloatModel, name: str, found: _Found) -> BlockRanges:
    heads, head_dim = model.config.heads, model.config.head_dim
    keys = np.concatenate([k.reshape(-1, k.shape[-1]) for k in found.kept["attn.k"]])
    k_mean = keys.mean(axis=0).astype(np.float32).astype(np.float64)
    if model.config.thresholds:  # of keys as they are
        k_mean = np.zeros_like(k_mean)
    largest = 0.0
    for q, k in zip(*found.kept.values(), strict=True):
        split_q, split_k = (
            x.reshape(*x.shape[:2], heads, head_dim).transpose(0, 2, 1, 3) for x in (q, k - k_mean)
        )
        largest = max(largest, float(np.abs(split_q @ split_k.transpose(0, 1, 3, 2)).max()))
    octaves = largest * math.log2(math.e) / math.sqrt(head_dim)
    if octaves > MAX_OCTAVES:
        raise QuantizeError(
            f"{name}.attn: logits reach {octaves:.0f} octaves on the calibration images, "
            f"at most {MAX_OCTAVES} fit"
        )

    def head_max(channels: Vector) -> Vector:
        return channels.reshape(heads, head_dim).max(axis=1)

    return BlockRanges(
        norm1=found.largest["norm1"],
        norm2=found.largest["norm2"],
        q=head_max(found.largest["attn.q"]),
        k=head_max(_channel_max(keys - k_mean)),
        v=head_max(found.largest["attn.v"]),
        context=head_max(found.largest["attn.context"]),
        k_mean=k_mean,
        gelu_input=found.high["mlp.fc1.linear"],
        activation_low=found.low["mlp.fc1"],
        activation_high=found.high["mlp.fc1"],
        octaves=octaves,
        selector=_selector_ranges(f"{name}.selector", found),
    )


def _selector_ranges(name: str, found: _Found) -> SelectorRanges | None:
    if "selector.keep" not in found.largest:
        return None
    octaves = float(found.largest["selector.keep"].max()) * math.log2(math.e)
    if octaves > MAX_OCTAVES:
        raise QuantizeError(
            f"{name}: keep logits reach {octaves:.0f} octaves on the calibration images, "
            f"at most {MAX_OCTAVES} fit"
        )
    parts = ("local", "score1", "score2", "attn1")
    return SelectorRanges(
        low={part: found.low[f"selector.{part}"] for part in parts},
        high={part: found.high[f"selector.{part}"] for part in parts},
        gelu_input=max(found.high[f"selector.{part}.linear"] for part in parts),
        octaves=octaves,
    )


def _channel_max(x: NDArray[np.floating]) -> Vector:
    largest = np.abs(x).max(axis=tuple(range(x.ndim - 1)))
    return largest.astype(np.float32).astype(np.float64)


def _rounded(x: float) -> float:
    return float(np.float32(x))
