"""A pre-norm encoder block: attention and MLP, each added to the residual stream."""

import numpy as np
from numpy.typing import NDArray

from golden_model.attention import attention
from golden_model.collect import Collect, discard
from golden_model.mlp import mlp
from golden_model.norm import norm
from golden_model.units.residual_add import residual_add
from spec.model_file import Model

__all__ = ["encoder_block"]


def encoder_block(
    model: Model, name: str, h: NDArray[np.int16], collect: Collect = discard
) -> NDArray[np.int16]:
    """Apply the block `name` (`blocks.N`).

    h : RESIDUAL [n, tokens, embed_dim]
    collect : gets the block's tensors; `attn.proj` and `mlp.fc2` are the residual after the add
    """
    x = norm(model, f"{name}.norm1", h)
    collect(f"{name}.norm1", x)
    h = residual_add(h, attention(model, f"{name}.attn", x, collect)).astype(np.int16)
    collect(f"{name}.attn.proj", h)
    x = norm(model, f"{name}.norm2", h)
    collect(f"{name}.norm2", x)
    h = residual_add(h, mlp(model, f"{name}.mlp", x, collect)).astype(np.int16)
    collect(f"{name}.mlp.fc2", h)
    return h
