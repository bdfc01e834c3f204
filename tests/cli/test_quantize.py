"""`sievit quantize`, from a float file to a model that runs, and what it refuses."""

import re

import numpy as np
import pytest

from quantize import datasets
from spec import model_file
from spec.model_file import write_tensors
from tests.cli.files import MICRO, float_file, images_file
from tests.random_models import ODD, SMALL, random_images


def test_own_model_with_own_images(sievit, tmp_path):
    """A shape that no bundled data set serves: three channels of 15 x 15."""
    images = images_file(tmp_path / "images.safetensors", random_images(ODD, 9))
    source, out = float_file(tmp_path / "float.safetensors", ODD), tmp_path / "out.safetensors"
    ended = sievit("quantize", source, out, "--dataset", images, "--images", 8)
    assert ended.status == 0
    assert "2 blocks, 10 tokens, 20 channels" in ended.out
    assert "calibrated on 8 images" in ended.out
    assert model_file.load(out).provenance["calibration_images"] == 8
    ended = sievit("run", "--model", out, "--dataset", images)
    assert ended.status == 0
    assert "9 images" in ended.out


def test_test_images_are_named_as_such(sievit, tmp_path):
    source = float_file(tmp_path / "float.safetensors", SMALL)
    ended = sievit("quantize", source, tmp_path / "out.safetensors", "--dataset", "sample")
    assert ended.status == 0
    assert "these are test images" in ended.out


def test_calibration_is_on_training_images_unless_told_otherwise(sievit, monkeypatch, tmp_path):
    asked = []

    def train_images(split, image_size):
        asked.append((split, image_size))
        return datasets.Labelled(images=random_images(SMALL, 8), labels=np.zeros(8, np.uint8))

    monkeypatch.setattr(datasets, "fashion_mnist", train_images)
    source = float_file(tmp_path / "float.safetensors", SMALL)
    ended = sievit("quantize", source, tmp_path / "out.safetensors")
    assert ended.status == 0
    assert asked == [("train", 12)]
    assert "test images" not in ended.out


def with_(**changes):
    return lambda path: float_file(path, SMALL, **changes)


def without(name):
    def make(path):
        float_file(path, SMALL)
        metadata, tensors = model_file.read_tensors(path)
        del tensors[name]
        write_tensors(path, tensors, metadata)
        return path

    return make


def metadata(**changes):
    def make(path):
        float_file(path, SMALL)
        old, tensors = model_file.read_tensors(path)
        write_tensors(path, tensors, {**old, **changes})
        return path

    return make


BIAS = np.zeros(10, np.float32)
FLOAT_FILES = {
    "missing": (lambda path: path, "no such file"),
    "truncated": (
        lambda path: path.write_bytes(MICRO.read_bytes()[:999]) and path,
        "not a readable safetensors file",
    ),
    "an integer model": (lambda path: MICRO, "must be floats, not"),
    "nan": (with_(**{"head.bias": BIAS * np.nan}), "head.bias: holds values that are not finite"),
    "beyond float16": (with_(**{"head.bias": BIAS + 1e9}), "head.bias: .* beyond float16"),
    "wrong shape": (with_(**{"head.bias": BIAS[1:]}), r"head.bias: must have shape \[10\], not"),
    "integers": (with_(**{"head.bias": BIAS.astype(np.int32)}), "head.bias: must be floats"),
    "unknown parameter": (with_(**{"head.scale": BIAS}), "unknown parameter head.scale"),
    "missing parameter": (without("cls_token"), "missing parameter cls_token"),
    "no mean": (metadata(mean=""), "metadata 'mean' must be a number"),
    "mean of two channels": (metadata(mean="[0.1, 0.2]"), "mean must be 1 finite numbers"),
    "std": (metadata(std="0"), "std and norm_epsilon must be positive"),
    "config": (metadata(config="[]"), "config"),
    "deep config": (metadata(config="[" * 100_000), "config"),
}


@pytest.mark.parametrize(("make", "message"), FLOAT_FILES.values(), ids=FLOAT_FILES)
def test_float_files(sievit, tmp_path, make, message):
    source, out = make(tmp_path / "float.safetensors"), tmp_path / "out.safetensors"
    line = sievit("quantize", source, out, "--dataset", "sample").refused()
    assert re.search(message, line), line
    assert not out.exists()


def test_a_model_without_any_weight_is_still_a_model(sievit, tmp_path):
    """All parameters 0: every range is empty, and nothing may divide by it."""
    source = tmp_path / "float.safetensors"
    float_file(source, SMALL)
    old, tensors = model_file.read_tensors(source)
    write_tensors(source, {name: np.zeros_like(value) for name, value in tensors.items()}, old)
    out = tmp_path / "out.safetensors"
    ended = sievit("quantize", source, out, "--dataset", "sample")
    assert ended.status in (0, 2)
    assert ended.status == 0 or ended.refused()
    assert out.exists() == (ended.status == 0)


def test_the_float_model_is_not_overwritten(sievit, tmp_path):
    source = float_file(tmp_path / "float.safetensors", SMALL)
    before = source.read_bytes()
    line = sievit("quantize", source, source, "--dataset", "sample").refused()
    assert "would overwrite the float model" in line
    assert source.read_bytes() == before
