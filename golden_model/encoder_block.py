"""A pre-norm encoder block: attention and MLP, each added to the residual stream."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from golden_model.attention import attention
from golden_model.collect import Collect, Watch, discard
from golden_model.mlp import mlp
from golden_model.norm import norm
from golden_model.units.residual_add import residual_add
from spec.model_file import Model

__all__ = ["encoder_block", "encoder_blocks"]


def encoder_block(
    model: Model,
    block: int,
    h: NDArray[np.int16],
    origin: NDArray[np.int64],
    collect: Collect = discard,
    attends: bool = True,
) -> NDArray[np.int16]:
    """Apply an encoder block.

    h : RESIDUAL [n, tokens, embed_dim]
    origin : [n, tokens], see `attention`
    collect : gets the block's tensors; `attn.proj` and `mlp.fc2` are the residual after the add
    attends : without it neither norm1 nor attention are there
    """
    name = f"blocks.{block}"
    if attends:
        x = norm(model, f"{name}.norm1", h)
        collect(f"{name}.norm1", x)
        h = residual_add(h, attention(model, block, x, origin, collect)).astype(np.int16)
        collect(f"{name}.attn.proj", h)
    x = norm(model, f"{name}.norm2", h)
    collect(f"{name}.norm2", x)
    h = residual_add(h, mlp(model, block, x, collect)).astype(np.int16)
    collect(f"{name}.mlp.fc2", h)
    return h


def encoder_blocks(
    model: Model,
    h: NDArray[np.int16],
    origin: NDArray[np.int64],
    first: int,
    end: int,
    collect: Collect = discard,
    skipped: Collection[int] = (),
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Encoder blocks `first` .. `end` - 1, and the attention of CLS in the last one.

    h : RESIDUAL [n, tokens, embed_dim]
    origin : [n, tokens], see `attention`
    skipped : blocks without attention
    result : RESIDUAL as h, and PROB [n, heads, tokens]; no probabilities if it has no attention
    """
    probs = np.zeros(0, np.uint8)
    for block in range(first, end):
        watch = Watch(collect, f"blocks.{block}.attn.probs")
        attends = block not in skipped
        h = encoder_block(model, block, h, origin, watch, attends)
        probs = watch.seen[:, :, 0] if attends else np.zeros(0, np.uint8)
    return h, probs
