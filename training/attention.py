"""Multi-head self-attention, with a fixed mask, thresholds and ViTCoD's auto-encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .nonlinear import Nonlinear
from .sieves import HeadCode, Penalties, Tau, cleared

__all__ = ["Attention"]


class Attention(nn.Module):
    """Multi-head self-attention over all tokens."""

    def __init__(self, dim: int, heads: int, code: int, nonlinear: Nonlinear) -> None:
        """Attention of `heads` heads; `code` heads is what Q and K are compressed to, 0: not."""
        super().__init__()
        self.heads = heads
        self.nonlinear = nonlinear
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.tau: Tau = {}
        self.kept: Tensor | None = None
        self.coded = bool(code)
        if self.coded:
            for kind in "qk":
                self.add_module(f"{kind}_encode", HeadCode(heads, code))
                self.add_module(f"{kind}_decode", HeadCode(code, heads))

    def forward(
        self, x: Tensor, live: Tensor | None = None, penalties: Penalties | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attend to the live rows and kept scores; softmax is scaled by 1 / sqrt(head_dim).

        x : [n, tokens, embed_dim]
        live : [n, tokens], all of them if not given
        result : the same shape as x, and what CLS attends to, summed over heads [n, tokens]
        """
        n, tokens, dim = x.shape
        qkv = self.qkv(x).view(n, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.coded:
            q, k = self._decoded(q, k, penalties)
        tau = self.tau
        q, k, v = (
            cleared(part, tau.get(kind, 0)) for kind, part in zip("qkv", (q, k, v), strict=True)
        )
        # Written out: at this few tokens the CPU runs it faster than torch's fused attention.
        logits = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)
        logits = cleared(logits, tau.get("scores", 0) * q.shape[-1] ** -0.5)
        weights = self.nonlinear.softmax(logits, live, self._kept(tokens))
        if tau.get("probs", 0):
            least = tau["probs"] * weights.detach().amax(-1, keepdim=True)
            weights = torch.where(weights <= least, 0, weights)
        mixed = (weights.to(v.dtype) @ v).transpose(1, 2).reshape(n, tokens, dim)
        attended = weights[:, :, 0].sum(1)
        out = self.proj(cleared(mixed, tau.get("context", 0)))
        return cleared(out, tau.get("proj", 0)), attended

    def _decoded(self, q: Tensor, k: Tensor, penalties: Penalties | None) -> tuple[Tensor, Tensor]:
        """Q and K behind encoder and decoder (ViTCoD)."""
        results, loss = [], q.new_zeros(())
        for kind, x in (("q", q), ("k", k)):
            code = self.get_submodule(f"{kind}_encode")(x)
            decoded = self.get_submodule(f"{kind}_decode")(code)
            loss = loss + (decoded - x).float().flatten(1).norm(dim=1).mean()
            results.append(decoded)
        if penalties is not None:
            penalties.reconstruction.append(loss)
        return results[0], results[1]

    def _kept(self, rows: int) -> Tensor | None:
        """The mask of all rows; those behind its tokens are package tokens, which are global."""
        if self.kept is None:
            return None
        more = rows - self.kept.shape[-1]
        return functional.pad(self.kept, (0, more, 0, more), value=1.0) if more else self.kept
