"""Float models: the forward pass against exact formulas and torch, and bad files."""

import json
import math
from dataclasses import fields

import numpy as np
import pytest

from quantize import QuantizeError, float_forward, float_logits, load_float
from quantize.float_layers import float_gelu
from quantize.float_model import rounded_to_half
from spec.model_file import write_tensors
from tests.random_models import CONFIGS, SMALL, random_float, random_images

METADATA = {"config": json.dumps(vars(SMALL)), "mean": "0.286", "std": "0.353"}


@pytest.fixture
def write(tmp_path):
    def write_file(parameters=None, **metadata):
        path = tmp_path / "float.safetensors"
        tensors = {**random_float(SMALL).parameters, **(parameters or {})}
        kept = {k: v for k, v in {**METADATA, **metadata}.items() if v is not None}
        write_tensors(path, {k: v for k, v in tensors.items() if v is not None}, kept)
        return path

    return write_file


def test_gelu_is_exact_to_float32():
    x = np.concatenate([np.linspace(-9, 9, 200_003), [-1e30, 1e30, 0]]).astype(np.float32)
    true = np.array([0.5 * v * math.erfc(-v / math.sqrt(2)) for v in x.astype(float).tolist()])
    error = np.abs(float_gelu(x) - true)
    assert (error <= 1.3e-7 * np.maximum(np.abs(x), 1)).all()


def test_loaded_model_is_the_written_one(write):
    model, got = random_float(SMALL), load_float(write())
    assert got.config == model.config
    assert (got.mean, got.std, got.norm_epsilon) == ((0.286,), (0.353,), 1e-6)
    assert (got["pos_embed"] == model["pos_embed"]).all()


@pytest.mark.parametrize(
    ("parameters", "metadata", "message"),
    [
        ({"norm.bias": None}, {}, "missing parameter norm.bias"),
        ({"mask": np.zeros(3, np.float32)}, {}, "unknown parameter mask"),
        (
            {"norm.bias": np.zeros(3, np.float32)},
            {},
            r"norm.bias: must have shape \[16\], not \[3\]",
        ),
        (
            {"blocks.1.mlp.fc1.bias": np.full(32, np.nan, np.float32)},
            {},
            r"blocks.1.mlp.fc1.bias: holds values that are not finite \(NaN or inf\)",
        ),
        ({"norm.bias": np.zeros(16, np.int32)}, {}, "norm.bias: must be floats, not int32"),
        ({}, {"config": None}, "metadata 'config' must be a JSON object"),
        ({}, {"mean": None}, "metadata 'mean' must be a number or a JSON list"),
        ({}, {"std": "[1, 2]"}, r"std must be 1 finite numbers, not \(1.0, 2.0\)"),
        ({}, {"std": "0"}, "std and norm_epsilon must be positive"),
        ({}, {"mean": "NaN"}, "mean must be 1 finite numbers"),
    ],
)
def test_bad_files_get_one_clear_line(write, parameters, metadata, message):
    with pytest.raises(QuantizeError, match=rf"float\.safetensors: {message}") as caught:
        load_float(write(parameters, **metadata))
    assert "\n" not in str(caught.value)


def test_unreadable_files(tmp_path, write):
    with pytest.raises(QuantizeError, match="no such file"):
        load_float(tmp_path / "none.safetensors")
    path = write()
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(QuantizeError, match="not a readable safetensors file"):
        load_float(path)


def test_values_beyond_float16(write):
    model = load_float(write({"norm.bias": np.full(16, 1e5, np.float32)}))
    with pytest.raises(QuantizeError, match=r"norm\.bias: holds values beyond float16"):
        rounded_to_half(model)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_chunks_do_not_matter(config):
    model, images = random_float(config, outliers=False), random_images(config, 9)
    whole = float_forward(model, images)
    done = []
    assert float_logits(model, images, done.append) == pytest.approx(whole, abs=1e-4)
    assert sum(done) == 9


def test_forward_equals_torch():
    torch = pytest.importorskip("torch")
    from training.vit import Vit, VitConfig

    model, images = random_float(SMALL, outliers=False), random_images(SMALL, 6)
    twin = Vit(VitConfig(**{f.name: getattr(SMALL, f.name) for f in fields(VitConfig)})).eval()
    twin.load_state_dict({k: torch.tensor(v) for k, v in model.parameters.items()})
    with torch.no_grad():
        pixels = (torch.tensor(images).float() / 255 - model.mean[0]) / model.std[0]
        true = twin(pixels).numpy()
    assert np.abs(float_forward(model, images) - true).max() < 2e-5
