"""The whole network: image to class logits, bit for bit as the hardware computes it."""

import numpy as np
from numpy.typing import NDArray

from golden_model.classifier_head import classifier_head
from golden_model.collect import Collect, discard
from golden_model.encoder_block import encoder_block
from golden_model.patch_embed import patch_embed
from spec.model_file import Model

__all__ = ["vit"]


def vit(
    model: Model, images: NDArray[np.uint8], collect: Collect | None = None
) -> NDArray[np.int16]:
    """Class logits of a batch of images.

    images : uint8 [n, height, width] or [n, channels, height, width]
    collect : called with (name, array [n, ...]) for every intermediate tensor, in order:
        patch_embed int16; for each block norm1, attn.q, attn.k, attn.v int8 [n, tokens, channels],
        attn.logits int16 and attn.probs uint8 [n, heads, tokens, tokens], attn.context int8,
        attn.proj int16 (the residual after the add), norm2 int8, mlp.fc1 int8 (after the
        activation), mlp.fc2 int16 (the residual after the add); norm int8
        [n, rows, embed_dim] of the rows that the head reads; with a mean pool int8
        [n, 1, embed_dim]; head int16 [n, classes]
    result : int16 [n, classes]
    """
    give = collect or discard
    h = patch_embed(model, images)
    give("patch_embed", h)
    for block in range(model.config.depth):
        h = encoder_block(model, f"blocks.{block}", h, give)
    return classifier_head(model, h, give)
