"""Labelled images for calibration and evaluation: Fashion-MNIST and the bundled sample."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantize.errors import QuantizeError
from spec.idx import FASHION_MNIST, read_idx
from spec.model_file import ModelFileError, read_tensors, write_tensors

__all__ = [
    "CLASS_NAMES",
    "Labelled",
    "fashion_mnist",
    "resized",
    "sample",
    "unlabelled",
    "write_sample",
]

SPLITS = {"train": "train", "test": "t10k"}
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Images uint8 [n, height, width] (or with channels before height), classes uint8 [n]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    labelled: bool = True
    """Without labels, those above are zeros and mean nothing."""

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "Labelled":
        """Take the first `count` images."""
        return self.part(slice(count))

    def part(self, some: slice) -> "Labelled":
        """Take some of the images."""
        return replace(self, images=self.images[some], labels=self.labels[some])


def fashion_mnist(split: str, image_size: int = 28, folder: Path = FASHION_MNIST) -> Labelled:
    """Read a split (`train`: 60,000 images, `test`: 10,000) from the Debian package."""
    if split not in SPLITS:
        raise QuantizeError(f"split must be one of {', '.join(SPLITS)}, not '{split}'")
    images = read_idx(folder / f"{SPLITS[split]}-images-idx3-ubyte.gz", 3)
    labels = read_idx(folder / f"{SPLITS[split]}-labels-idx1-ubyte.gz", 1)
    if len(images) != len(labels):
        raise QuantizeError(f"{folder}: {len(images):,} images but {len(labels):,} labels")
    return Labelled(images=resized(images, image_size), labels=labels)


def sample(path: str | os.PathLike[str], image_size: int = 28) -> Labelled:
    """Read a sample file: safetensors with `images` uint8 and `labels` uint8 [n].

    images : [n, height, width] or [n, channels, height, width]
    """
    try:
        _, tensors = read_tensors(Path(path))
    except ModelFileError as error:
        raise QuantizeError(str(error)) from None
    images, labels = tensors.get("images"), tensors.get("labels")
    if images is None or labels is None:
        raise QuantizeError(f"{path}: must hold the tensors images and labels")
    if images.dtype != np.uint8 or labels.dtype != np.uint8 or images.ndim not in (3, 4):
        raise QuantizeError(f"{path}: images must be uint8 [n, height, width], labels uint8 [n]")
    if labels.shape != images.shape[:1]:
        raise QuantizeError(f"{path}: {len(images)} images but labels {list(labels.shape)}")
    return Labelled(images=resized(images, image_size), labels=labels)


def unlabelled(images: NDArray[np.uint8]) -> Labelled:
    """Pictures of which no one says what they show."""
    return Labelled(images=images, labels=np.zeros(len(images), np.uint8), labelled=False)


def write_sample(path: str | os.PathLike[str], data: Labelled) -> None:
    """Write a sample of Fashion-MNIST test images."""
    metadata = {
        "format": "sievit-sample",
        "version": "1",
        "source": f"Fashion-MNIST test images 0..{len(data) - 1}, Zalando SE",
        "licence": "MIT",
    }
    write_tensors(Path(path), {"images": data.images, "labels": data.labels}, metadata)


def resized(images: NDArray[np.uint8], image_size: int) -> NDArray[np.uint8]:
    """Bring 28 x 28 images to a model's size: 28, or 12 by averaging 2 x 2 boxes.

    images : uint8 [n, 28, 28]; of any shape if they have that size already
    result : uint8 [n, 12, 12] from the central 24 x 24 pixels, (a + b + c + d + 2) >> 2
    """
    if images.shape[-2:] == (image_size, image_size):
        return images
    if images.shape[1:] != (28, 28) or image_size != 12:
        raise QuantizeError(
            f"cannot bring images of {images.shape[-2]} x {images.shape[-1]} to "
            f"{image_size} x {image_size}; Fashion-MNIST serves models of 28 or 12"
        )
    boxes = images[:, 2:26, 2:26].reshape(-1, 12, 2, 12, 2).astype(np.uint16)
    return ((boxes.sum(axis=(2, 4), dtype=np.uint16) + 2) >> 2).astype(np.uint8)
