"""Fashion-MNIST from its Debian package, as unsigned bytes in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spec.idx import FASHION_MNIST, read_idx

from .errors import TrainingError

__all__ = [
    "MEAN",
    "STD",
    "DataSet",
    "Labelled",
    "downsample_12",
    "load_fashion_mnist",
]

HELD_BACK = 5_000  # the last training images, never trained on: recipes are chosen by them
MEAN, STD = 0.2860, 0.3530  # of the training pixels divided by 255
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Images uint8 [n, size, size] and their classes uint8 [n]."""

    images: Bytes
    labels: Bytes

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The three splits: to train on, to choose by, and to report."""

    train: Labelled
    held_back: Labelled
    test: Labelled


def load_fashion_mnist(image_size: int = 28, folder: Path = FASHION_MNIST) -> DataSet:
    """Read the whole data set at 28x28, or at 12x12 by `downsample_12`."""
    sizes = {28: lambda images: images, 12: downsample_12}
    if image_size not in sizes:
        raise TrainingError(f"image_size of fashion-mnist must be 28 or 12, not {image_size}")
    train, test = (
        Labelled(
            images=sizes[image_size](read_idx(folder / f"{split}-images-idx3-ubyte.gz", 3)),
            labels=read_idx(folder / f"{split}-labels-idx1-ubyte.gz", 1),
        )
        for split in ("train", "t10k")
    )
    return DataSet(
        train=Labelled(images=train.images[:-HELD_BACK], labels=train.labels[:-HELD_BACK]),
        held_back=Labelled(images=train.images[-HELD_BACK:], labels=train.labels[-HELD_BACK:]),
        test=test,
    )


def downsample_12(images: Bytes) -> Bytes:
    """Centre 24x24 of 28x28 images, each 2x2 box averaged in integers, halves rounded up.

    images : uint8 [n, 28, 28] -> uint8 [n, 12, 12], out = (a + b + c + d + 2) >> 2
    """
    boxes = images[:, 2:26, 2:26].reshape(-1, 12, 2, 12, 2).astype(np.uint16)
    return ((boxes.sum(axis=(2, 4), dtype=np.uint16) + 2) >> 2).astype(np.uint8)
