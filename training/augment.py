"""Random changes to a whole batch at once, from one generator."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from .recipe import Recipe

__all__ = ["augment", "branch_factors"]


def augment(
    images: Tensor, labels: Tensor, recipe: Recipe, rng: Generator
) -> tuple[Tensor, Tensor]:
    """Shift, flip, erase, then mix images with a shuffled partner.

    images : float [n, size, size] normalised
    labels : int64 [n]
    Returns images of the same shape and class probabilities float [n, classes].
    Mixup blends (Zhang et al. 2018), CutMix pastes a box (Yun et al. 2019); here the partner's
    share is uniform in [0, 0.5], so that the image stays the larger part.
    """
    n, size, _ = images.shape
    black = (0.0 - recipe.mean) / recipe.std
    images = _shift(images, recipe.shift_pixels, black, rng)
    flip = torch.rand(n, 1, 1, generator=rng) < recipe.flip
    images = torch.where(flip, images.flip(-1), images)

    erase = torch.rand(n, 1, 1, generator=rng) < recipe.erase
    side = size * (0.15 + 0.30 * torch.rand(n, generator=rng))
    images = images.masked_fill(erase & _boxes(side, size, rng), 0.0)

    targets = functional.one_hot(labels, recipe.model.classes).float()
    partner = torch.randperm(n, generator=rng)
    kind = torch.rand(n, 1, 1, generator=rng)
    share = 0.5 * torch.rand(n, generator=rng)
    box = _boxes(size * share.sqrt(), size, rng)
    blended = torch.lerp(images, images[partner], share[:, None, None])
    pasted = torch.where(box, images[partner], images)
    is_mixup = kind < recipe.mixup
    is_cutmix = ~is_mixup & (kind < recipe.mixup + recipe.cutmix)
    images = torch.where(is_mixup, blended, torch.where(is_cutmix, pasted, images))
    share = torch.where(is_mixup, share[:, None, None], box.float().mean((1, 2), keepdim=True))
    share = torch.where(is_mixup | is_cutmix, share, 0.0)[:, 0]
    return images, torch.lerp(targets, targets[partner], share)


def branch_factors(recipe: Recipe, n: int, rng: Generator) -> Tensor:
    """Factors float [2 * depth, n, 1, 1] of the residual branches: 0, or 1 / kept share.

    Stochastic depth (Huang et al. 2016, eq. 4): the rate grows linearly with depth.
    """
    depth = recipe.model.depth
    rates = torch.linspace(0.0, recipe.drop_path, depth).repeat_interleave(2)[:, None]
    kept = torch.rand(2 * depth, n, generator=rng) >= rates
    return (kept / (1.0 - rates))[:, :, None, None]


def _shift(images: Tensor, pixels: int, fill: float, rng: Generator) -> Tensor:
    """Move each image by up to `pixels` in both directions, filling with `fill`."""
    n, size, _ = images.shape
    padded = functional.pad(images, (pixels,) * 4, value=fill)
    dy, dx = torch.randint(0, 2 * pixels + 1, (2, n), generator=rng)
    windows = padded.unfold(1, size, 1).unfold(2, size, 1)
    return windows[torch.arange(n), dy, dx]


def _boxes(side: Tensor, size: int, rng: Generator) -> Tensor:
    """Masks bool [n, size, size] of squares with that side, wholly inside the image."""
    corner = torch.rand(2, len(side), generator=rng) * (size - side)
    first, last = corner.round()[..., None], (corner + side).round()[..., None]
    line = torch.arange(size)
    rows, columns = (line >= first) & (line < last)
    return rows[:, :, None] & columns[:, None, :]
