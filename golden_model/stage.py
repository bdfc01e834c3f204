"""A stage: which tokens of each image go on, by either rule."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden_model.collect import Collect
from golden_model.norm import norm
from golden_model.token_selector import token_selector
from golden_model.units.select_tokens import moved_origins, select_tokens
from golden_model.units.token_score import attention_score
from spec.formats import SELECTOR
from spec.isa import Package
from spec.model_file import Model, Stage

__all__ = ["Sequences", "select"]


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """The residual stream of images with the same number of tokens."""

    h: NDArray[np.int16]
    """RESIDUAL [n, tokens, embed_dim]"""
    packages: int
    """Package tokens of each, the last ones."""
    origin: NDArray[np.int64]
    """[n, tokens], the token of the image that each row is. A package row has a number behind them:
    the first one, or with `each` one for every package row that was there before it."""

    @classmethod
    def whole(cls, h: NDArray[np.int16]) -> "Sequences":
        """The tokens of images of which none is dropped yet."""
        count, tokens, _ = h.shape
        return cls(h=h, packages=0, origin=np.tile(np.arange(tokens), (count, 1)))


def select(
    model: Model, stage: Stage, tokens: Sequences, probs: NDArray[np.uint8], collect: Collect
) -> Iterator[tuple[NDArray[np.int64], Sequences]]:
    """Drop tokens of every image; images that then have equally many go on together.

    probs : PROB [n, heads, tokens], the attention of CLS in the block before
    collect : gets the stage's tensors, see `vit`
    result : image numbers [m] and what these images go on with, group by group
    """
    config, name = model.config, f"blocks.{stage.block}"
    if stage.rule == "selector":
        x = norm(model, f"{name}.norm1", tokens.h)
        collect(f"{name}.selector.norm", x)
        score = token_selector(model, f"{name}.selector", x, collect)
    else:
        score = attention_score(probs)
    collect(f"{name}.selector.score", score.astype(np.uint16))
    results = [
        select_tokens(
            h,
            own,
            threshold=stage.threshold,
            prefix=config.prefix_tokens,
            packages=tokens.packages,
            package=Package[config.package.upper()],
            each=config.packages == "each",
            weight_shift=SELECTOR.weight_shift(stage.threshold),
        )
        for h, own in zip(tokens.h, score, strict=True)
    ]
    collect(f"{name}.selector.kept", np.stack([keep for _, keep, _ in results]))
    groups: dict[tuple[int, int], list[int]] = {}
    for image, (rows, _, packages) in enumerate(results):
        groups.setdefault((len(rows), packages), []).append(image)
    for (_, packages), images in sorted(groups.items()):
        h = np.stack([results[image][0] for image in images])
        collect(f"{name}.selector.tokens", h)
        number = config.tokens + (tokens.packages if config.packages == "each" else 0)
        left = h.shape[1]
        origin = np.stack(
            [
                moved_origins(tokens.origin[image], results[image][1], left, number)[:left]
                for image in images
            ]
        )
        yield np.array(images), Sequences(h=h, packages=packages, origin=origin)
