"""The whole network: image to class logits, bit for bit as the hardware computes it."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from golden_model.classifier_head import classifier_head
from golden_model.collect import Collect, discard
from golden_model.encoder_block import encoder_blocks
from golden_model.patch_embed import patch_embed
from golden_model.stage import Sequences, select
from golden_model.units.entropy_gate import is_certain
from spec.efforts import tensor_prefix
from spec.model_file import Model

__all__ = ["Answer", "answer", "goes_on", "vit"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the network says of images."""

    logits: NDArray[np.int16]
    """[n, classes], of each image's last effort."""
    effort: NDArray[np.int64]
    """[n], the effort that gave them, from 0."""


def vit(
    model: Model, images: NDArray[np.uint8], collect: Collect | None = None
) -> NDArray[np.int16]:
    """Class logits of a batch of images.

    images : uint8 [n, height, width] or [n, channels, height, width]
    collect : called with (name, array [n, ...]) for every intermediate tensor, in order:
        patch_embed int16; for each block norm1, attn.q, attn.k, attn.v int8 [n, tokens, channels],
        attn.logits int16 and attn.probs uint8 [n, heads, tokens, tokens], attn.context int8,
        attn.proj int16 (the residual after the add), norm2 int8, mlp.fc1 int8 (after the
        activation), mlp.fc2 int16 (the residual after the add); norm int8
        [n, rows, embed_dim] of the rows that the head reads; with a mean pool int8
        [n, 1, embed_dim]; head int16 [n, classes]. Before a block with a stage: selector.norm
        int8, what `token_selector` collects, selector.score uint16 [n, tokens], selector.kept bool
        [n, tokens], selector.tokens int16 (the residual of the tokens that are left).
        Images that keep different numbers of tokens part there: what is behind is collected for
        one number after the other, n images each
        A model of several efforts runs them one after the other, each from the patches on, for the
        images that the gate before did not let go: their tensors are called `efforts.N.` and so on
    result : int16 [n, classes]
    """
    return answer(model, images, collect).logits


def answer(model: Model, images: NDArray[np.uint8], collect: Collect | None = None) -> Answer:
    """Class logits of a batch of images, and the efforts they took.

    images, collect : see `vit`
    """
    give, passes = collect or discard, model.config.passes
    logits = np.zeros((len(images), model.config.classes), np.int16)
    last = np.zeros(len(images), np.int64)
    left = np.arange(len(images))
    for number, effort in enumerate(passes):
        named = _prefixed(give, tensor_prefix(number, len(passes)))
        h = patch_embed(model, images[left])
        named("patch_embed", h)
        found = _encode(model, effort.skipped, 0, Sequences.whole(h), named)
        logits[left], last[left] = found, number
        left = left[goes_on(model, number, found)]
        if not len(left):
            break
    return Answer(logits=logits, effort=last)


def goes_on(model: Model, number: int, logits: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Which images take another effort behind effort `number`; none behind the last.

    logits : int16 [n, classes], of that effort
    result : bool [n]
    """
    passes = model.config.passes
    if number == len(passes) - 1:
        return np.zeros(len(logits), np.bool_)
    return ~is_certain(logits, *model.gate_scale, passes[number].threshold)


def _prefixed(collect: Collect, prefix: str) -> Collect:
    return (lambda name, array: collect(prefix + name, array)) if prefix else collect


def _encode(
    model: Model, skipped: Collection[int], first: int, tokens: Sequences, give: Collect
) -> NDArray[np.int16]:
    """Logits from the residual stream as block `first` gets it."""
    stage = next((stage for stage in model.config.stages if stage.block > first), None)
    end = stage.block if stage else model.config.depth
    h, probs = encoder_blocks(model, tokens.h, tokens.origin, first, end, give, skipped)
    if stage is None:
        return classifier_head(model, h, give)
    logits = np.zeros((len(h), model.config.classes), np.int16)
    for images, group in select(model, stage, replace(tokens, h=h), probs, give):
        logits[images] = _encode(model, skipped, end, group, give)
    return logits
