"""How alike two representations are: what a block's attention changes (PIVOT's path score)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize.errors import QuantizeError
from quantize.float_forward import float_forward
from quantize.float_model import FloatModel
from spec.model_config import Effort

__all__ = ["attention_similarity", "best_path", "block_order", "linear_cka", "output_order"]


def linear_cka(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Centred kernel alignment with the linear kernel (Kornblith et al. 2019, eq. 3 to 5).

    x, y : [n, ...], the features of the same n examples; not the same for all of them
    result : 0..1; 1 for representations that differ by a rotation and a scale
    """
    grams = []
    for features in (x, y):
        rows = features.reshape(len(features), -1).astype(np.float64)
        rows -= rows.mean(axis=0)
        grams.append(rows @ rows.T)
    one, two = grams
    norms = np.linalg.norm(one) * np.linalg.norm(two)
    if not norms:
        raise QuantizeError("similarity: all examples have the same features")
    return float((one * two).sum() / norms)


def attention_similarity(model: FloatModel, images: NDArray[np.uint8]) -> list[float]:
    """For each encoder block, the CKA of its input and of its input + attention.

    An example is an image, with the rows of all its tokens as features; all blocks attend. PIVOT
    skips where it is largest: there, attention changes least.

    images : uint8 [n, height, width] or [n, channels, height, width], at least 2
    """
    if model.config.stages:
        raise QuantizeError("similarity: a model with stages has other tokens in each block")
    if len(images) < 2:
        raise QuantizeError(f"similarity: needs at least 2 images, not {len(images)}")
    whole = replace(model, config=replace(model.config, efforts=()))
    found: list[float] = []
    before: list[NDArray[Any]] = []

    def watch(name: str, array: NDArray[Any]) -> None:
        if name.endswith("attn.proj"):
            found.append(linear_cka(before[0], array))
        elif name == "patch_embed" or name.endswith("mlp.fc2"):
            before[:] = [array]

    float_forward(whole, images, watch)
    return found


def block_order(similarity: Sequence[float]) -> list[int]:
    """All blocks, those first where attention changes least; the first of equals is first.

    Of all paths of a length, the one that skips the first of them has the largest sum of
    similarities.
    """
    return sorted(range(len(similarity)), key=lambda block: -similarity[block])


def output_order(model: FloatModel, images: NDArray[np.uint8]) -> list[int]:
    """All blocks, in the order in which skipping them too changes the head's input least.

    Greedy: the next block is the one without which the CKA of the normalised rows before the head
    stays largest, between the model that skips nothing and that which skips it and those before.

    images : as in `attention_similarity`
    """
    depth = model.config.depth
    whole = _head_input(model, images, ())
    order: list[int] = []
    while len(order) < depth:
        left = [block for block in range(depth) if block not in order]
        if len(left) == 1:
            return [*order, *left]
        found = {
            block: linear_cka(whole, _head_input(model, images, (*order, block))) for block in left
        }
        order.append(max(left, key=found.__getitem__))
    return order


def best_path(order: Sequence[int], active: int) -> tuple[int, ...]:
    """The blocks to skip for `active` attentions, ascending: the first of the order of all."""
    depth = len(order)
    if not 1 <= active <= depth:
        raise QuantizeError(f"active attentions must be 1..{depth}, not {active}")
    return tuple(sorted(order[: depth - active]))


def _head_input(
    model: FloatModel, images: NDArray[np.uint8], skipped: Sequence[int]
) -> NDArray[np.floating]:
    """The normalised rows that the head reads, of a pass without those blocks' attention."""
    seen: list[NDArray[Any]] = []

    def watch(name: str, array: NDArray[Any]) -> None:
        if name == "norm":
            seen.append(array)

    effort = Effort(skipped=tuple(sorted(skipped)))
    float_forward(replace(model, config=replace(model.config, efforts=(effort,))), images, watch)
    return seen[0]
