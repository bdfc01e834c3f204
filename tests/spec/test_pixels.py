"""Images to patches."""

import numpy as np
import pytest

from spec.model_config import ModelConfig
from spec.pixels import PixelError, batch_of, patches_of

CONFIG = ModelConfig(
    image_size=6,
    patch_size=3,
    channels=2,
    embed_dim=4,
    depth=1,
    heads=1,
    head_dim=4,
    mlp_dim=4,
    classes=2,
    activation="relu",
)


def test_patches_are_channel_row_column_minus_128():
    images = np.arange(3 * 72).reshape(3, 2, 6, 6).astype(np.uint8)
    got = patches_of(images, CONFIG)
    assert got.shape == (3, 4, 18)
    assert got.dtype == np.int8
    for patch, (y, x) in enumerate([(0, 0), (0, 3), (3, 0), (3, 3)]):
        true = images[1, :, y : y + 3, x : x + 3].reshape(-1).astype(int) - 128
        assert got[1, patch].tolist() == true.tolist()


def test_wrong_images():
    with pytest.raises(PixelError, match=r"takes images of 2 x 6 x 6 .*not 6 x 6"):
        batch_of(np.zeros((3, 6, 6), np.uint8), CONFIG)
    with pytest.raises(PixelError, match="must be uint8, not int64"):
        batch_of(np.zeros((3, 2, 6, 6), np.int64), CONFIG)
    with pytest.raises(PixelError, match="not 6"):
        batch_of(np.zeros((6, 6), np.uint8), CONFIG)
