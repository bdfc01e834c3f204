"""What the host does to an image: order the pixels into patches and subtract 128."""

import numpy as np
from numpy.typing import NDArray

from spec.errors import SievitError
from spec.model_config import ModelConfig

__all__ = ["PIXEL_OFFSET", "PixelError", "batch_of", "patches_of"]

PIXEL_OFFSET = 128


class PixelError(SievitError, ValueError):
    """Images that do not suit a model: says what is needed and what there is."""


def batch_of(images: NDArray[np.uint8], config: ModelConfig) -> NDArray[np.uint8]:
    """Check images and give them their channel axis.

    images : uint8 [n, height, width] (one channel) or [n, channels, height, width]
    result : uint8 [n, channels, height, width]
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise PixelError(f"images must be uint8, not {images.dtype}")
    batch = images[:, None] if images.ndim == 3 else images
    size = config.image_size
    if batch.ndim != 4 or batch.shape[1:] != (config.channels, size, size):
        raise PixelError(
            f"the model takes images of {config.channels} x {size} x {size} "
            f"(channels x height x width), not {' x '.join(map(str, images.shape[1:]))}"
        )
    return batch


def patches_of(images: NDArray[np.uint8], config: ModelConfig) -> NDArray[np.int8]:
    """Cut images into rows of patch values, as the machine's input window holds them.

    images : see `batch_of`
    result : int8 [n, patches, patch_dim], pixel - 128; patches in row order, a patch's values in
        (channel, row, column) order
    """
    batch = batch_of(images, config)
    size = config.patch_size
    grid = config.image_size // size
    cells = batch.reshape(len(batch), config.channels, grid, size, grid, size)
    rows = cells.transpose(0, 2, 4, 1, 3, 5).reshape(len(batch), config.patches, config.patch_dim)
    return (rows ^ PIXEL_OFFSET).view(np.int8)
