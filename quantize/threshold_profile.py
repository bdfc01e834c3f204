"""What thresholds clear and what that costs: DynaTran's curves (AccelTran), golden model."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model import vit
from quantize.thresholds import with_thresholds
from spec.efforts import plain_name
from spec.model_config import THRESHOLDS
from spec.model_file import Model
from spec.pixels import batch_of

__all__ = ["Profile", "threshold_profile", "zeros_of"]

CHUNK_IMAGES = 64
TENSORS = {
    "attn.q": "q",
    "attn.k": "k",
    "attn.v": "v",
    "attn.logits": "scores",
    "attn.probs": "probs",
    "attn.context": "context",
    "mlp.fc1": "fc1",
}
"""Collected tensors that show their zeros; those of proj and fc2 are seen in the residual."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One tau, over a data set."""

    tau: float | None
    """None: the model as it is."""
    top1: float | None
    """Of the integer golden model; None without labels."""
    sparsity: dict[str, float]
    """Share of zeros of each of `THRESHOLDS`. Scores and probabilities that a mask leaves out are
    zeros."""
    hidden: list[float]
    """Share of zeros of fc1 in each block."""
    saved: float
    """Share of the encoder blocks' multiplications whose scalar is zero: those of context in proj,
    of hidden codes in fc2, of probabilities in P.V. The machine skips no others for a zero."""

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        return asdict(self)


@dataclass
class _Count:
    """Zeros and elements by tensor, and multiplications; called as a `Collect`."""

    model: Model
    zeros: Counter[str] = field(default_factory=Counter)
    elements: Counter[str] = field(default_factory=Counter)
    saved: int = 0
    macs: int = 0
    residual: NDArray[np.integer] | None = None

    def __call__(self, name: str, array: NDArray[np.integer]) -> None:
        """Take a tensor of some images."""
        name = plain_name(name)
        kind = name.split(".", 2)[-1] if name.startswith("blocks.") else name
        config = self.model.config
        if kind in ("patch_embed", "selector.tokens"):
            self.residual = array
        elif kind in ("attn.proj", "mlp.fc2"):
            assert self.residual is not None
            self._add(kind.partition(".")[2], array == self.residual)
            self.residual = array
        elif kind in TENSORS:
            zero = 0 if kind != "mlp.fc1" else int(self.model[f"{name[:-4]}.act.zero_point"][0])
            self._add(TENSORS[kind], array == zero)
            if kind == "mlp.fc1":
                self._add(name, array == zero)
        columns = {
            "norm1": 3 * config.attention_dim,
            "attn.logits": config.head_dim,
            "attn.probs": config.head_dim,
            "attn.context": config.embed_dim,
            "norm2": config.mlp_dim,
            "mlp.fc1": config.embed_dim,
        }.get(kind, 0)
        self.macs += array.size * columns
        if kind in ("attn.probs", "attn.context", "mlp.fc1"):
            zero = 0 if kind != "mlp.fc1" else int(self.model[f"{name[:-4]}.act.zero_point"][0])
            self.saved += int((array == zero).sum()) * columns

    def _add(self, tensor: str, zero: NDArray[np.bool_]) -> None:
        self.zeros[tensor] += int(zero.sum())
        self.elements[tensor] += zero.size


def zeros_of(
    model: Model,
    images: NDArray[np.uint8],
    progress: Callable[[int], None] | None = None,
    workers: int | None = None,
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """Predictions [n], and `sparsity`, `hidden` and `saved` of a `Profile`.

    images : uint8 [n, height, width] or [n, channels, height, width]
    progress : called with the number of images of every finished chunk
    workers : threads; all cores if not given
    """
    images = batch_of(images, model.config)
    chunks = [images[start : start + CHUNK_IMAGES] for start in range(0, len(images), CHUNK_IMAGES)]

    def run(chunk: NDArray[np.uint8]) -> tuple[NDArray[np.int64], _Count]:
        count = _Count(model=model)
        return vit(model, chunk, count).argmax(axis=1), count

    total, predictions = _Count(model=model), []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for found, count in pool.map(run, chunks):
            predictions.append(found)
            total.zeros += count.zeros
            total.elements += count.elements
            total.saved += count.saved
            total.macs += count.macs
            if progress:
                progress(len(found))
    hidden = [f"blocks.{block}.mlp.fc1" for block in range(model.config.depth)]
    share = {name: total.zeros[name] / total.elements[name] for name in (*THRESHOLDS, *hidden)}
    return np.concatenate(predictions), {
        "sparsity": {name: share[name] for name in THRESHOLDS},
        "hidden": [share[name] for name in hidden],
        "saved": total.saved / total.macs,
    }


def threshold_profile(
    model: Model,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer] | None,
    taus: Sequence[float | None],
    tensors: Sequence[str] = THRESHOLDS,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Profile]:
    """Run a model with each tau as threshold of some tensors; thresholds that it has go.

    taus : None stands for the model as it is
    labels : [n], if known
    """
    found = []
    for tau in taus:
        tell("the model as it is" if tau is None else f"tau {tau:g}")
        changed = model if tau is None else with_thresholds(model, dict.fromkeys(tensors, tau))
        predictions, zeros = zeros_of(changed, images)
        top1 = None if labels is None else float((predictions == labels).mean())
        found.append(Profile(tau=tau, top1=top1, **zeros))
    return found
