"""HeatViT's polynomial GELU and softmax as activation functions to train with (eq. 11-14)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .errors import TrainingError

__all__ = ["Nonlinear", "polynomial_exp", "polynomial_gelu"]

ERF_A, ERF_B = -0.2888, -1.769
EXP_A, EXP_B, EXP_C = 0.3585, 1.353, 0.344
DELTAS = (0.5, 1.0)


def polynomial_gelu(x: Tensor, delta1: float = 1.0) -> Tensor:
    """GELU as x / 2 * (1 + L_erf(x / sqrt 2)), HeatViT eq. 11 and 12.

    L_erf(x) = sign(x) * delta1 * (a * (min(|x|, -b) + b)**2 + 1). With delta1 = 1 this is GELU
    within 0.02; with 0.5 it is another function, which ends as 0.75 x and 0.25 x.
    """
    size = (x.abs() / math.sqrt(2)).clamp(max=-ERF_B)
    erf = x.sign() * delta1 * (ERF_A * (size + ERF_B).square() + 1)
    return x / 2 * (1 + erf)


def polynomial_exp(x: Tensor) -> Tensor:
    """exp(x) of x <= 0: 2**-z times a parabola of the rest, HeatViT eq. 14.

    Relative error at most 0.003. The number of halvings z has no gradient.
    """
    halvings = (-x.detach() / math.log(2)).floor()
    rest = x + halvings * math.log(2)
    return (EXP_A * (rest + EXP_B).square() + EXP_C) * torch.exp2(-halvings)


@dataclass(frozen=True, kw_only=True)
class Nonlinear:
    """Which activation function and exponential a model is trained with."""

    polynomial: bool = False
    delta1: float = 1.0

    def __post_init__(self) -> None:
        if self.delta1 not in DELTAS:
            raise TrainingError(f"delta1 must be 0.5 or 1, not {self.delta1}")
        if self.delta1 != 1 and not self.polynomial:
            raise TrainingError("delta1 other than 1 needs polynomial: true GELU has none")

    def activation(self, name: str) -> nn.Module:
        """The activation function `gelu` or `relu`."""
        if name == "relu":
            return nn.ReLU()
        return PolynomialGelu(self.delta1) if self.polynomial else nn.GELU()

    def softmax(self, logits: Tensor, live: Tensor | None, kept: Tensor | None = None) -> Tensor:
        """Softmax over the last dimension, of live keys and kept scores only.

        logits : [n, heads, queries, keys]
        live : [n, keys], 0 or 1; its gradient is that of keys taking part (DynamicViT's policy)
        kept : [heads, queries, keys], 0 or 1; what is not kept counts as minus infinity
        """
        if live is None and kept is None and not self.polynomial:
            return functional.softmax(logits, dim=-1)
        logits = logits.float()
        keys = torch.ones_like(logits[:, :1, :1]) if live is None else live[:, None, None, :]
        if kept is not None:
            keys = keys * kept
        largest = logits.detach().masked_fill(keys < 0.5, -math.inf).amax(-1, keepdim=True)
        distance = (logits - largest).clamp(max=0)
        weights = polynomial_exp(distance) if self.polynomial else distance.exp()
        weights = weights * keys
        return weights / weights.sum(-1, keepdim=True)


class PolynomialGelu(nn.Module):
    """`polynomial_gelu` as a module."""

    def __init__(self, delta1: float) -> None:
        super().__init__()
        self.delta1 = delta1

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to each element."""
        return polynomial_gelu(x, self.delta1)
