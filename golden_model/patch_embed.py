"""Patch embedding: images to the initial residual stream."""

import numpy as np
from numpy.typing import NDArray

from golden_model.linear import linear
from golden_model.units.residual_add import residual_add
from spec.formats import RESIDUAL
from spec.model_file import Model
from spec.pixels import patches_of

__all__ = ["patch_embed"]


def patch_embed(model: Model, images: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Project patches and add them to the position embedding; the prefix rows are constants.

    images : uint8 [n, height, width] or [n, channels, height, width]
    result : RESIDUAL [n, tokens, embed_dim]
    """
    patches = patches_of(images, model.config)
    position = model["embed.position"]
    h = np.broadcast_to(position, (len(patches), *position.shape)).copy()
    delta = linear(model, "patch_embed", patches, RESIDUAL.low, RESIDUAL.high)
    prefix = model.config.prefix_tokens
    h[:, prefix:] = residual_add(position[prefix:], delta)
    return h
