"""Fashion-MNIST's splits, and the 12x12 variant."""

import gzip
import struct

import numpy as np
import pytest

from spec.idx import FASHION_MNIST, IdxError
from training.datasets import downsample_12, load_fashion_mnist
from training.errors import TrainingError


def idx_bytes(array):
    """An idx file of unsigned bytes."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def test_missing_package_names_the_command(tmp_path):
    with pytest.raises(
        IdxError,
        match=r"train-images-idx3-ubyte\.gz: not found; "
        "install it with: apt-get install dataset-fashion-mnist",
    ):
        load_fashion_mnist(folder=tmp_path)


def test_size_not_offered():
    with pytest.raises(TrainingError, match="image_size of fashion-mnist must be 28 or 12, not 14"):
        load_fashion_mnist(14)


def test_splits_hold_back_the_last_training_images(tmp_path):
    rng = np.random.default_rng(1)
    images, labels = {}, {}
    for split, count in (("train", 5003), ("t10k", 4)):
        images[split] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels[split] = rng.integers(0, 10, count, dtype=np.uint8)
        for name, array in (("images-idx3", images[split]), ("labels-idx1", labels[split])):
            path = tmp_path / f"{split}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(idx_bytes(array), 1))
    data = load_fashion_mnist(folder=tmp_path)
    assert (data.train.images == images["train"][:3]).all()
    assert (data.held_back.labels == labels["train"][3:]).all()
    assert (data.test.images == images["t10k"]).all()
    small = load_fashion_mnist(12, folder=tmp_path)
    assert (small.test.images == downsample_12(images["t10k"])).all()


def test_downsample_rounds_halves_up_and_drops_the_border():
    image = np.full((1, 28, 28), 255, np.uint8)
    image[0, 2:26, 2:26] = 0
    image[0, 2:4, 2:4] = [[1, 0], [0, 0]]
    image[0, 2:4, 4:6] = [[1, 1], [0, 0]]
    image[0, 24:26, 24:26] = 255
    expected = np.zeros((12, 12), np.uint8)
    expected[0, :2] = 0, 1
    expected[11, 11] = 255
    assert (downsample_12(image)[0] == expected).all()


@pytest.mark.skipif(not FASHION_MNIST.exists(), reason="needs the package dataset-fashion-mnist")
def test_package_has_its_known_size_and_mean():
    data = load_fashion_mnist()
    assert (len(data.train), len(data.held_back), len(data.test)) == (55_000, 5_000, 10_000)
    pixels = np.concatenate([data.train.images, data.held_back.images]) / np.float32(255)
    assert (round(float(pixels.mean()), 3), round(float(pixels.std()), 3)) == (0.286, 0.353)
