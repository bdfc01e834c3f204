"""Fashion-MNIST from its package, the bundled sample, and files that are neither."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from quantize import QuantizeError
from quantize.datasets import Labelled, fashion_mnist, resized, sample, write_sample
from spec.idx import FASHION_MNIST, IdxError
from spec.model_file import write_tensors

BUNDLED = Path(__file__).parents[2] / "models" / "sample.safetensors"


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_fashion_mnist(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    labels = np.arange(5, dtype=np.uint8)
    with pytest.raises(IdxError, match="not found; install it with: apt-get install dataset"):
        fashion_mnist("test", folder=tmp_path)
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", labels[:4])
    with pytest.raises(QuantizeError, match="5 images but 4 labels"):
        fashion_mnist("test", folder=tmp_path)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", labels)
    data = fashion_mnist("test", folder=tmp_path)
    assert (data.images == images).all()
    assert len(data.first(2)) == 2
    with pytest.raises(QuantizeError, match="split must be one of train, test, not 'dev'"):
        fashion_mnist("dev", folder=tmp_path)


def test_resized_averages_boxes_and_rounds_half_up():
    images = np.zeros((1, 28, 28), np.uint8)
    images[0, 2, 2:4] = [1, 1]
    images[0, 26, 26] = 255  # outside the centre
    got = resized(images, 12)
    assert got.shape == (1, 12, 12)
    assert got[0, 0, 0] == 1
    assert got.sum() == 1
    assert resized(images, 28) is images
    with pytest.raises(QuantizeError, match="cannot bring images of 28 x 28 to 30 x 30"):
        resized(images, 30)


def test_sample_files(tmp_path):
    path = tmp_path / "sample.safetensors"
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    write_sample(path, Labelled(images=images, labels=np.arange(5, dtype=np.uint8)))
    assert (sample(path).images == images).all()
    assert sample(path, 12).images.shape == (5, 12, 12)
    write_tensors(path, {"images": images}, {})
    with pytest.raises(QuantizeError, match="must hold the tensors images and labels"):
        sample(path)
    write_tensors(path, {"images": images, "labels": np.zeros(4, np.uint8)}, {})
    with pytest.raises(QuantizeError, match="5 images but labels"):
        sample(path)
    path.write_bytes(b"x")
    with pytest.raises(QuantizeError, match="not a readable safetensors file"):
        sample(path)


def test_bundled_sample_is_the_head_of_the_test_set():
    data = sample(BUNDLED)
    assert len(data) >= 256
    assert set(data.labels.tolist()) == set(range(10))
    if FASHION_MNIST.exists():
        test = fashion_mnist("test").first(len(data))
        assert (test.images == data.images).all()
        assert (test.labels == data.labels).all()
