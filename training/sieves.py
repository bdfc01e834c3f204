"""What fine-tuning adds to a model: thresholds, ViTCoD's auto-encoder, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

__all__ = ["HeadCode", "Penalties", "Tau", "cleared"]

Tau = Mapping[str, float]
"""Thresholds by the names of `spec.model_config.THRESHOLDS`; 0 for what is not there."""


@dataclass
class Penalties:
    """Terms of the loss that the blocks of a model find on the way, one entry a block."""

    activity: list[Tensor] = field(default_factory=list)
    """Mean output of the MLP's activation function, whose zeros are wanted."""
    reconstruction: list[Tensor] = field(default_factory=list)
    """||q - q'|| + ||k - k'|| of the auto-encoder, a mean over images."""


def cleared(x: Tensor, tau: float) -> Tensor:
    """Make values 0 whose magnitude is at most tau (DynaTran); a tau of 0 changes nothing."""
    return torch.where(x.abs() <= tau, 0, x) if tau else x


class HeadCode(nn.Module):
    """One linear layer over the heads, the same for every channel of a head."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, tokens, head_dim] -> [n, outputs, tokens, head_dim]."""
        return torch.einsum("oh,nhtd->notd", self.weight, x) + self.bias[:, None, None]

    def initialise(self) -> None:
        """Random weights at the scale of their inputs."""
        nn.init.trunc_normal_(self.weight, std=self.weight.shape[1] ** -0.5)
