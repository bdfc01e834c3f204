"""Pictures without labels: scikit-image's photos (extra: photos), and smooth random ones."""

from importlib import import_module
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from quantize.errors import QuantizeError
from quantize.resample import resampled
from spec.model_config import ModelConfig

__all__ = ["PHOTOS", "photos", "random_pictures"]

PHOTOS = {
    "train": ("chelsea", "coffee", "rocket", "camera", "coins", "brick", "page", "gravel"),
    "test": (
        "astronaut",
        "retina",
        "hubble_deep_field",
        "immunohistochemistry",
        "moon",
        "grass",
        "text",
        "cell",
    ),
}
"""Of those that scikit-image installs: for calibration, and to measure on."""
VIEWS = 5
"""The middle square of a photo, then its quadrants."""


def photos(config: ModelConfig, count: int, split: str = "train") -> NDArray[np.uint8]:
    """Take `count` photos, cut square and resampled to the model's size (bicubic, antialiased).

    result : uint8 [count, channels, size, size]; a grey photo has equal channels
    """
    if find_spec("skimage") is None:
        raise QuantizeError("photos need scikit-image: pip install -e '.[photos]'")
    data = import_module("skimage.data")

    names = PHOTOS[split]
    if not 1 <= count <= VIEWS * len(names):
        raise QuantizeError(f"there are {VIEWS * len(names)} photos in {split}, not {count}")
    found = np.zeros((count, config.channels, config.image_size, config.image_size), np.uint8)
    for index in range(count):
        view, photo = divmod(index, len(names))
        pixels = np.atleast_3d(np.asarray(getattr(data, names[photo])()))
        square = _view(pixels, view)
        small = np.clip(np.rint(resampled(square, config.image_size)), 0, 255)
        if small.shape[-1] != config.channels:
            small = np.repeat(small.mean(axis=-1, keepdims=True), config.channels, axis=-1)
        found[index] = small.transpose(2, 0, 1).astype(np.uint8)
    return found


def random_pictures(config: ModelConfig, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Seeded pictures that are smooth over an eighth of their side, with a little noise.

    result : uint8 [count, channels, size, size]
    """
    rng = np.random.default_rng(seed)
    size = config.image_size
    found = np.zeros((count, config.channels, size, size), np.uint8)
    for picture in found:
        coarse = rng.uniform(0, 256, (8, 8, config.channels))
        noise = rng.normal(0, 6, (size, size, config.channels))
        smooth = np.rint(resampled(coarse, size) + noise)
        picture[:] = np.clip(smooth, 0, 255).transpose(2, 0, 1)
    return found


def _view(pixels: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    if view == 0:
        return square
    half = side // 2
    row, column = divmod(view - 1, 2)
    return square[row * half : (row + 1) * half, column * half : (column + 1) * half]
