"""Good and bad files for the command line."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from cli.options import BUNDLED
from spec.model_file import read_tensors, write_tensors
from tests.random_models import random_float

MICRO = BUNDLED / "micro.safetensors"


def changed(path: Path, name: str, tensor: np.ndarray) -> Path:
    """The micro model with another tensor in place of `name`."""
    metadata, tensors = read_tensors(MICRO)
    assert name in tensors
    write_tensors(path, {**tensors, name: tensor}, metadata)
    return path


def described(path: Path, **metadata: str) -> Path:
    """The micro model with other metadata."""
    good, tensors = read_tensors(MICRO)
    write_tensors(path, tensors, {**good, **metadata})
    return path


def hostile(path: Path, header: bytes, length: int | None = None) -> Path:
    """A safetensors file with this header, and perhaps a lie about its length."""
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header)
    return path


def float_file(path: Path, config, **changes: np.ndarray) -> Path:
    """A random float model, perhaps with some parameters replaced."""
    model = random_float(config, outliers=False)
    metadata = {"config": json.dumps(asdict(config)), "mean": "0.286", "std": "0.353"}
    write_tensors(path, {**model.parameters, **changes}, metadata)
    return path


def images_file(path: Path, images: np.ndarray, labels: np.ndarray | None = None) -> Path:
    """Labelled images of one's own."""
    labels = np.zeros(len(images), np.uint8) if labels is None else labels
    write_tensors(path, {"images": images, "labels": labels}, {})
    return path
