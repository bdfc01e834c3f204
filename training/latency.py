"""Latency-aware training: the loss on keep ratios, and the machine's latency-sparsity table."""

from __future__ import annotations

from torch import Tensor

__all__ = ["ratio_loss"]


def ratio_loss(alive: Tensor, keep: tuple[float, ...]) -> Tensor:
    """Squared distance of the keep ratios from their targets, summed over the stages.

    HeatViT eq. 20 with D of an image as the mean of its mask over all patches, which the paper
    leaves open; the batch is averaged before the square, so that images may differ.

    alive : [stages, n, patches], 0 or 1
    keep : of each stage, the share of all patches wanted behind it
    """
    found = alive.mean(dim=(1, 2))
    return (found - found.new_tensor(keep)).square().sum()
