"""The network over many images whose tokens are dropped, and what became of every token.

Of a model of several efforts it is the last one of an image that counts, but `every_left` and
`every_first` know of all.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from golden_model.classifier_head import classifier_head
from golden_model.collect import Watch, discard
from golden_model.encoder_block import encoder_blocks
from golden_model.patch_embed import patch_embed
from golden_model.stage import Sequences, select
from golden_model.vit import goes_on
from spec.efforts import Effort
from spec.model_file import Model, Stage
from spec.pixels import batch_of

__all__ = ["Sieved", "sieve"]

CHUNK_IMAGES = 512
"""Many, so that there are several images of each number of tokens."""


@dataclass(frozen=True, kw_only=True)
class Sieved:
    """What became of images and their tokens."""

    logits: NDArray[np.int16]
    """[n, classes]"""
    left: NDArray[np.int64]
    """[n, stages], rows behind each stage, package rows among them."""
    first: NDArray[np.int64]
    """[n, stages], the first row that the stage drops; -1 if it drops none."""
    alive: NDArray[np.bool_]
    """[n, stages, tokens], whether a token of the image is still a row of its own."""
    effort: NDArray[np.int64]
    """[n], the image's last effort, from 0."""
    every_left: NDArray[np.int64]
    """[n, efforts, stages], `left` of each effort; 0 of those that an image does not take."""
    every_first: NDArray[np.int64]
    """[n, efforts, stages], `first` likewise."""

    def taken(self, image: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`every_left` and `every_first` of the efforts that an image takes, [efforts, stages]."""
        efforts = self.effort[image] + 1
        return self.every_left[image, :efforts], self.every_first[image, :efforts]

    def of(self, some: NDArray[np.integer]) -> "Sieved":
        """The images of these numbers."""
        return Sieved(**{name: values[some] for name, values in vars(self).items()})

    @property
    def predictions(self) -> NDArray[np.int64]:
        """[n], the class of the largest logit, the lowest where several are equal."""
        return self.logits.argmax(axis=1)


@dataclass
class _Group:
    """Images with equally many rows and package rows."""

    images: NDArray[np.int64]
    tokens: Sequences


def sieve(
    model: Model,
    images: NDArray[np.uint8],
    progress: Callable[[int], None] | None = None,
    workers: int | None = None,
) -> Sieved:
    """Run images through all stages; the logits are those of `vit`.

    images : uint8 [n, height, width] or [n, channels, height, width]
    progress : called with the number of images of every finished chunk
    workers : threads; all cores if not given
    """
    images = batch_of(images, model.config)
    chunks = [images[start : start + CHUNK_IMAGES] for start in range(0, len(images), CHUNK_IMAGES)]
    results = [_sieve(model, images[:0])]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for result in pool.map(lambda chunk: _sieve(model, chunk), chunks):
            results.append(result)
            if progress:
                progress(len(result.logits))
    return Sieved(
        **{
            name: np.concatenate([vars(result)[name] for result in results])
            for name in vars(results[0])
        }
    )


def _sieve(model: Model, images: NDArray[np.uint8]) -> Sieved:
    """One chunk, effort by effort."""
    config, count = model.config, len(images)
    stages, passes = len(config.stages), config.passes
    found = Sieved(
        logits=np.zeros((count, config.classes), np.int16),
        left=np.zeros((count, stages), np.int64),
        first=np.zeros((count, stages), np.int64),
        alive=np.zeros((count, stages, config.tokens), np.bool_),
        effort=np.zeros(count, np.int64),
        every_left=np.zeros((count, len(passes), stages), np.int64),
        every_first=np.zeros((count, len(passes), stages), np.int64),
    )
    taking = np.arange(count)
    for number, effort in enumerate(passes):
        if not len(taking):
            break
        found.alive[taking] = False
        _pass(model, effort, images[taking], taking, found)
        found.effort[taking] = number
        found.every_left[taking, number] = found.left[taking]
        found.every_first[taking, number] = found.first[taking]
        taking = taking[goes_on(model, number, found.logits[taking])]
    return found


def _pass(
    model: Model,
    effort: Effort,
    images: NDArray[np.uint8],
    numbers: NDArray[np.int64],
    found: Sieved,
) -> None:
    """One effort, stage by stage; images that have equally many tokens then go on together.

    numbers : of the images in `found`
    """
    config, skipped = model.config, effort.skipped
    groups = [_Group(images=numbers, tokens=Sequences.whole(patch_embed(model, images)))]
    block = 0
    for number, stage in enumerate(config.stages):
        parts: dict[tuple[int, int], list[_Group]] = {}
        for group in groups:
            tokens = group.tokens
            h, probs = encoder_blocks(
                model, tokens.h, tokens.origin, block, stage.block, skipped=skipped
            )
            group.tokens = replace(tokens, h=h)
            for part in _select(model, stage, group, probs, number, found):
                key = part.tokens.h.shape[1], part.tokens.packages
                parts.setdefault(key, []).append(part)
        groups = [_joined(same) for same in parts.values()]
        block = stage.block
    for group in groups:
        tokens = group.tokens
        h, _ = encoder_blocks(model, tokens.h, tokens.origin, block, config.depth, skipped=skipped)
        found.logits[group.images] = classifier_head(model, h)


def _select(
    model: Model,
    stage: Stage,
    group: _Group,
    probs: NDArray[np.uint8],
    number: int,
    found: Sieved,
) -> Iterator[_Group]:
    """A stage of one group: what goes on, and notes of it."""
    watch = Watch(discard, f"blocks.{stage.block}.selector.kept")
    for members, tokens in select(model, stage, group.tokens, probs, watch):
        kept, images = watch.seen[members], group.images[members]
        found.left[images, number] = tokens.h.shape[1]
        found.first[images, number] = np.where(kept.all(axis=1), -1, kept.argmin(axis=1))
        for image, left in zip(images, tokens.origin, strict=True):
            found.alive[image, number, left[left < model.config.tokens]] = True
        yield _Group(images=images, tokens=tokens)


def _joined(groups: list[_Group]) -> _Group:
    return _Group(
        images=np.concatenate([group.images for group in groups]),
        tokens=Sequences(
            h=np.concatenate([group.tokens.h for group in groups]),
            packages=groups[0].tokens.packages,
            origin=np.concatenate([group.tokens.origin for group in groups]),
        ),
    )
