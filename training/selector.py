"""The token selector in float: scores of the rows, the rows kept, and the package token.

HeatViT (HPCA 2023), eq. 3-10, with the two-class softmax always in full (delta2 = 1). Rows are
never moved here: a mask says which are alive, and a dropped row is no key of any attention. One
code serves training and evaluation; only the noise on the scores differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from spec.formats import SELECTOR

__all__ = ["HeadLinear", "Noise", "Rows", "TokenSelector", "plan_sigmoid", "select"]

SMALLEST = 1e-6


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The residual stream and which of its rows are alive."""

    x: Tensor
    """[n, rows, dim]: prefix tokens, patches, then a row for each package token"""
    live: Tensor
    """[n, rows], 0 or 1; in training with the gradient of the decision"""
    packages: int
    """Rows for package tokens at the end."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What makes a decision random in training."""

    logistic: Tensor
    """[n, patches]: the difference of two Gumbel variables, scaled"""
    temperature: float = 1.0


class HeadLinear(nn.Module):
    """One linear layer a head, each on its own slice."""

    def __init__(self, heads: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(heads, outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(heads, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[n, heads, rows, inputs] -> [n, heads, rows, outputs]."""
        return x @ self.weight.transpose(1, 2) + self.bias[:, None]


class TokenSelector(nn.Module):
    """Scores rows: how likely they are to be worth keeping."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        full, hidden = dim // heads, max(heads // 2, 1)
        half, quarter = max(full // 2, 1), max(full // 4, 1)
        self.local = HeadLinear(heads, full, half)
        self.wide = HeadLinear(heads, full, half)
        self.score1 = HeadLinear(heads, 2 * half, half)
        self.score2 = HeadLinear(heads, half, quarter)
        self.score3 = HeadLinear(heads, quarter, 2)
        self.attn1 = nn.Linear(heads, hidden)
        self.attn2 = nn.Linear(hidden, heads)
        self.act: nn.Module = nn.GELU()
        # Python does not let an attribute be called `global`, which is its name in a file.
        self.register_state_dict_post_hook(_name_global)
        self.register_load_state_dict_pre_hook(_name_wide)

    @torch.no_grad()
    def initialise(self) -> None:
        """Random weights at the scale of their inputs; at first nearly all rows are kept."""
        for layer in self.children():
            if isinstance(layer, HeadLinear | nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=layer.weight.shape[-1] ** -0.5)
                nn.init.zeros_(layer.bias)
        self.score3.bias[:, 0] = 2.0

    def forward(self, x: Tensor, live: Tensor) -> Tensor:
        """Scores in 0..1 of the rows behind the prefix.

        x : [n, rows, dim], the rows behind the prefix of the block's first LayerNorm
        live : [n, rows]
        result : [n, rows]
        """
        n, rows, dim = x.shape
        slices = x.view(n, rows, self.heads, dim // self.heads)
        heads = slices.transpose(1, 2)
        local = self.act(self.local(heads))
        share = live / live.sum(1, keepdim=True).clamp(min=1)
        wide = self.act(self.wide(heads))
        wide = (wide * share[:, None, :, None]).sum(2, keepdim=True).expand_as(local)
        hidden = self.act(self.score1(torch.cat([local, wide], dim=-1)))
        logits = self.score3(self.act(self.score2(hidden))).float()
        keep = (logits[..., 0] - logits[..., 1]).sigmoid().transpose(1, 2)
        attend = self.attn2(self.act(self.attn1(slices.mean(3)))).float()
        weight = plan_sigmoid(attend).clamp(min=1 / (1 << SELECTOR.share_bits))
        return (weight * keep).sum(2) / weight.sum(2)


def _name_global(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    _rename(state, f"{prefix}wide.", f"{prefix}global.")


def _name_wide(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    _rename(state, f"{prefix}global.", f"{prefix}wide.")


def _rename(state: dict[str, Tensor], old: str, new: str) -> None:
    for name in [name for name in state if name.startswith(old)]:
        state[new + name.removeprefix(old)] = state.pop(name)


def plan_sigmoid(x: Tensor) -> Tensor:
    """The piecewise linear sigmoid PLAN; its constants are those of the integer model."""
    unit = 1 << SELECTOR.share_bits
    size = x.abs()
    y = torch.ones_like(x)
    end = SELECTOR.plan_end / unit
    for start, shift, offset in SELECTOR.plan:
        piece = size / (1 << shift) + offset / unit
        y = torch.where((size >= start / unit) & (size < end), piece, y)
        end = start / unit
    return torch.where(x < 0, 1 - y, y)


def keep_decision(scores: Tensor, threshold: float, noise: Noise | None) -> Tensor:
    """Keep a row, 1, or drop it, 0.

    Without noise a score at or above the threshold keeps. With it, straight-through
    Gumbel-Softmax (Jang et al. 2017) over keep and drop: hard forwards, soft backwards.
    """
    if noise is None:
        return (scores >= threshold).float()
    odds = torch.logit(scores, SMALLEST) - torch.logit(torch.tensor(threshold), SMALLEST)
    odds = odds + noise.logistic
    soft = (odds / noise.temperature).sigmoid()
    hard = (odds >= 0).float()
    return hard - soft.detach() + soft


def select(
    rows: Rows,
    scores: Tensor,
    *,
    prefix: int,
    threshold: float,
    package: str,
    packages: str,
    noise: Noise | None = None,
) -> Rows:
    """Drop rows, and put what they held into a package token.

    scores : [n, rows behind the prefix]
    threshold : a candidate whose score is at least this is kept
    package : `weighted` (by score), `mean` or `none`; with `none` the first row behind the prefix
        stays if no other does
    packages : `merged`: an old package token always goes into the new one; `each`: it stays
    """
    before, live = rows.live[:, :prefix], rows.live[:, prefix:]
    patches = live.shape[1] - rows.packages
    kept = live[:, :patches] * keep_decision(scores[:, :patches], threshold, noise)
    old = live[:, patches:]
    if package == "none":
        first = (live.detach().cumsum(1) < 1.5) & (live.detach() > 0.5)
        none_left = kept.detach().sum(1, keepdim=True) < 0.5
        kept = torch.where(none_left & first, live, kept)
        return replace(rows, live=torch.cat([before, kept], dim=1))
    dropped = live[:, :patches] - kept
    if packages == "merged":
        dropped = torch.cat([dropped, old], dim=1)
    sources = rows.x[:, prefix : prefix + dropped.shape[1]]
    weights = dropped * scores[:, : dropped.shape[1]] if package == "weighted" else dropped
    weights = torch.where(weights.sum(1, keepdim=True) > SMALLEST, weights, dropped)
    total = weights.sum(1, keepdim=True)
    share = weights / torch.where(total > SMALLEST, total, torch.ones_like(total))
    new = (share[:, None] @ sources.to(share.dtype)).to(rows.x.dtype)
    present = (dropped.detach().sum(1, keepdim=True) > 0.5).float()
    if packages == "merged":
        x = torch.cat([rows.x[:, : prefix + patches], new], dim=1)
        return Rows(x=x, live=torch.cat([before, kept, present], dim=1), packages=1)
    x = torch.cat([rows.x, new], dim=1)
    live = torch.cat([before, kept, old, present], dim=1)
    return Rows(x=x, live=live, packages=rows.packages + 1)


def gumbel_difference(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Differences of two standard Gumbel variables, which are logistic."""
    uniform = torch.rand(shape, generator=rng).clamp(SMALLEST, 1 - SMALLEST)
    return torch.logit(uniform)


def distillation(logits: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence of the teacher's class probabilities, mean over the batch."""
    student = functional.log_softmax(logits.float() / temperature, dim=-1)
    target = functional.log_softmax(teacher.float() / temperature, dim=-1)
    loss = functional.kl_div(student, target, log_target=True, reduction="batchmean")
    return loss * temperature**2
