"""How well a quantised model follows its float original: tensor by tensor, and where it loses.

The integer tensors are brought to real units and compared with the float tensors of the same
name. What softmax does not see is taken away first: a constant in every key, and in every logit of
a row.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model import vit
from golden_model.vit import answer
from quantize.float_forward import effort_forward
from quantize.float_layers import float_norm
from quantize.float_model import FloatModel, float_model_of
from quantize.float_selector import Decisions
from quantize.quantize_selector import ATTEND_UNIT, KEEP_UNIT
from spec.efforts import plain_name, tensor_prefix
from spec.formats import LOGIT, RESIDUAL, SELECTOR, SOFTMAX
from spec.model_file import Model
from spec.pixels import batch_of

__all__ = ["BLOCK_TENSORS", "Quality", "TensorQuality", "quality"]

BLOCK_TENSORS = (
    "norm1",
    "attn.q",
    "attn.k",
    "attn.v",
    "attn.logits",
    "attn.probs",
    "attn.context",
    "attn.proj",
    "norm2",
    "mlp.fc1",
    "mlp.fc2",
)
"""In the order of computation; `attn.proj` and `mlp.fc2` are the residual stream after the add."""
SELECTOR_UNITS = {
    "keep": KEEP_UNIT,
    "attend": ATTEND_UNIT,
    "score": 1 / (1 << SELECTOR.score_bits),
    "kept": 1.0,
}
"""Units of a stage's tensors that do not depend on the model."""
LARGEST_DB = 150.0
"""Stands for equality."""

Array = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class TensorQuality:
    """A tensor over all images."""

    name: str
    sqnr_db: float
    """Power of the float tensor over that of the difference."""
    saturated: int
    """Elements at the end of their 16 bits; always 0 for others."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A model over all images."""

    tensors: tuple[TensorQuality, ...]
    """In the order of computation."""
    token_cosines: NDArray[np.float64] = field(repr=False)
    """[images, tokens], of the final LayerNorm of each token, float against integer; NaN beyond the
    tokens that an image has left."""
    class_token: bool = True
    """Whether the first token is CLS."""

    @property
    def residual(self) -> tuple[TensorQuality, ...]:
        """The residual stream after each half block."""
        ends = ("patch_embed", "attn.proj", "mlp.fc2")
        return tuple(tensor for tensor in self.tensors if tensor.name.endswith(ends))

    def loses_first(self, floor_db: float = 20.0) -> TensorQuality | None:
        """Return the first tensor below the floor, None if there is none."""
        return next((tensor for tensor in self.tensors if tensor.sqnr_db < floor_db), None)

    @property
    def largest_loss(self) -> tuple[str, float]:
        """Return the half block in which the residual stream loses most, and how many dB."""
        pairs: Sequence[tuple[TensorQuality, TensorQuality]] = list(
            zip(self.residual, self.residual[1:], strict=False)
        )
        losses = {
            after.name: before.sqnr_db - after.sqnr_db
            for before, after in pairs
            if not after.name.endswith("patch_embed")
        }
        name = max(losses, key=lambda key: losses[key])
        return name, losses[name]

    def as_json(self) -> dict[str, Any]:
        """Make the report that `--json` writes."""
        first = self.loses_first()
        return {
            "images": len(self.token_cosines),
            "token_cosine_mean": float(np.nanmean(self.token_cosines)),
            "token_cosine_min": float(np.nanmin(self.token_cosines)),
            "cls_cosine_mean": float(self.token_cosines[:, 0].mean()) if self.class_token else None,
            "largest_loss": dict(zip(("tensor", "db"), self.largest_loss, strict=True)),
            "first_below_20_db": first.name if first else None,
            "sqnr_db": {tensor.name: round(tensor.sqnr_db, 2) for tensor in self.tensors},
            "saturated": {t.name: t.saturated for t in self.tensors if t.saturated},
        }


def quality(
    model: Model,
    images: NDArray[np.uint8],
    progress: Callable[[int], None] | None = None,
    reference: FloatModel | None = None,
) -> Quality:
    """Compare integer and float model over images, one image at a time.

    At a stage the float model keeps the tokens that the integer model keeps, and it takes the same
    efforts; cosines are those of the last one.

    images : uint8 [n, height, width] or [n, channels, height, width]; not those of calibration
    reference : the float model that the file carries, if not given
    """
    reference = reference or float_model_of(model)
    passes = model.config.passes
    powers: dict[str, NDArray[np.float64]] = {}
    cosines = []
    last = f"blocks.{model.config.depth - 1}.mlp.fc2"
    for index, image in enumerate(batch_of(images, model.config)):
        floats: dict[str, Array] = {}
        ends: list[Array] = []

        def keep(name: str, array: Array, floats: dict[str, Array] = floats) -> None:
            floats[name] = array

        def compare(
            name: str,
            array: NDArray[np.integer],
            floats: dict[str, Array] = floats,
            ends: list[Array] = ends,
        ) -> None:
            plain = plain_name(name)
            got, true = _comparable(model, plain, array, floats.pop(name))
            power = (np.square(true).sum(), np.square(got - true).sum(), _saturated(name, array))
            powers[name] = powers.get(name, np.zeros(3)) + power
            if plain == last:
                ends[:] = got, true

        taken = int(answer(model, image[None]).effort[0])
        for number, effort in enumerate(passes[: taken + 1]):
            prefix = tensor_prefix(number, len(passes))
            decisions = _decisions(model, image, prefix)
            effort_forward(reference, image[None], effort, keep, decisions, prefix)
        vit(model, image[None], compare)
        cosines.append(_cosines(*(float_norm(reference, "norm", end[0]) for end in ends)))
        if progress:
            progress(index + 1)
    tensors = tuple(
        TensorQuality(name=name, sqnr_db=_decibels(signal, noise), saturated=int(count))
        for name, (signal, noise, count) in powers.items()
    )
    return Quality(
        tensors=tensors,
        token_cosines=_padded(cosines),
        class_token=model.config.class_token,
    )


def _decisions(model: Model, image: NDArray[np.uint8], prefix: str) -> Decisions | None:
    """What the integer model keeps of one image, in the effort with this prefix."""
    if not model.config.stages:
        return None
    kept: dict[tuple[int, int], NDArray[np.bool_]] = {}

    def keep(name: str, array: NDArray[np.integer]) -> None:
        if name.startswith(prefix) and name.endswith("selector.kept"):
            kept[int(name.removeprefix(prefix).split(".")[1]), 0] = array[0].astype(np.bool_)

    vit(model, image[None], keep)
    return kept


def _padded(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Rows of different lengths as one array, with NaN behind their ends."""
    padded = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    for line, row in zip(padded, rows, strict=True):
        line[: len(row)] = row
    return padded


def _comparable(
    model: Model, name: str, codes: NDArray[Any], true: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Integer and float tensor in the same real unit."""
    config, scales = model.config, model.scales
    true = true.astype(np.float64)
    if ".selector." in name:
        return _comparable_selector(model, name, codes, true)
    if name.endswith("attn.logits"):
        got = codes / (1 << SOFTMAX.fraction_bits)
        true = true * math.log2(math.e)
        return got - got.mean(axis=-1, keepdims=True), true - true.mean(axis=-1, keepdims=True)
    if name.endswith("attn.probs"):
        return codes / codes.sum(axis=-1, keepdims=True, dtype=np.int64), true
    if name.endswith(("attn.q", "attn.k", "attn.v", "attn.context")):
        got = codes * np.repeat(np.array(scales[name]), config.head_dim)
        if name.endswith("attn.k"):
            return got - got.mean(axis=1, keepdims=True), true - true.mean(axis=1, keepdims=True)
        return got, true
    if name.endswith("mlp.fc1"):
        zero_point = int(model[name.replace("fc1", "act.zero_point")][0])
        return (codes.astype(np.int64) - zero_point) * scales[name], true
    if name.endswith(("patch_embed", "attn.proj", "mlp.fc2")):
        return codes * scales["residual"], true
    return codes * np.array(scales[name]), true


def _comparable_selector(
    model: Model, name: str, codes: NDArray[Any], true: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """A tensor of a stage in real units, without rows that have no meaning."""
    stage, _, part = name.rpartition(".")
    if part == "norm":
        return codes * np.array(model.scales[stage.replace("selector", "norm1")]), true
    if part == "tokens":
        return codes * model.scales["residual"], true
    if part == "mean":
        rows = slice(None)
    else:
        rows = slice(0 if part == "global" else model.config.prefix_tokens, None)
    codes, true = codes[:, rows].astype(np.float64), true[:, rows]
    if part in SELECTOR_UNITS:
        return codes * SELECTOR_UNITS[part], true
    source = "local" if part in ("global", "mean") else part
    zero_point = int(model[f"{stage}.{source}.act.zero_point"][0])
    return (codes - zero_point) * model.scales[name], true


def _saturated(name: str, codes: NDArray[np.integer]) -> int:
    """Count the elements at the ends of the 16-bit formats; int8 tensors are to reach theirs."""
    if codes.dtype != np.int16:
        return 0
    kind = LOGIT if name.endswith("attn.logits") else RESIDUAL
    return int(((codes == kind.low) | (codes == kind.high)).sum())


def _cosines(a: Array, b: Array) -> NDArray[np.float64]:
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (a * b).sum(axis=-1) / np.where(lengths > 0, lengths, 1)


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return LARGEST_DB
    return min(10 * math.log10(max(signal, 1e-300) / noise), LARGEST_DB)
