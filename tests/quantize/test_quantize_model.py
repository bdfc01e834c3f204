"""Quantised models follow their float originals, also where activations have outliers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from golden_model import vit
from quantize import QuantizeError, float_forward, float_model_of, quantize_file, quantize_model
from quantize.named import quantized_named
from quantize.quantize_model import RESIDUAL_HEADROOM
from quantize.tables import linear_tensors, multiplier_shift, norm_tensors
from spec.model_file import ModelConfig, load, write_tensors
from tests.random_models import CONFIGS, ODD, SMALL, random_float, random_images, random_model

SCALED = ("patch_embed", "attn.proj", "mlp.fc2")


def signal_to_noise_db(got, true):
    return 10 * np.log10(np.square(true).mean() / np.square(got - true).mean())


def compare(model, images):
    """SQNR in dB of every residual tensor and of the logits, integer against float."""
    floats, integers = {}, {}
    float_forward(float_model_of(model), images, lambda k, a: floats.update({k: a}))
    vit(model, images, lambda k, a: integers.update({k: a}))
    scales = {"head": model.scales["head"]}
    scales |= {name: model.scales["residual"] for name in floats if name.endswith(SCALED)}
    return {k: signal_to_noise_db(integers[k] * s, floats[k]) for k, s in scales.items()}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(("outliers", "needed_db"), [(False, 30), (True, 20)])
def test_integer_model_follows_the_float_model(config, outliers, needed_db):
    model = random_model(config, 0, outliers)
    ratios = compare(model, random_images(config, 32, seed=7))
    assert min(ratios.values()) > needed_db, ratios
    assert ratios["patch_embed"] > 44


def test_outliers_test_what_small_models_hide():
    model = random_model(SMALL)
    assert max(model.provenance["attention_octaves"]) > 40
    residual = np.abs(model["embed.position"].astype(int))
    assert residual.max() > 20 * np.median(residual)


def test_keys_are_centred():
    """A constant of 400 octaves in every logit of a row must not matter."""
    original = random_float(SMALL, 0, outliers=False)
    shifted = dict(original.parameters)
    for n in range(SMALL.depth):
        bias = shifted[f"blocks.{n}.attn.qkv.bias"].copy()
        bias[SMALL.attention_dim : 2 * SMALL.attention_dim] += 256
        shifted[f"blocks.{n}.attn.qkv.bias"] = bias
    images = random_images(SMALL, 16)
    plain = quantize_model(original, images)
    moved = quantize_model(replace(original, parameters=shifted), images)
    assert np.abs(vit(plain, images).astype(int) - vit(moved, images)).max() < 700


def test_logits_beyond_their_format_are_refused():
    model = random_float(SMALL, 0, outliers=False)
    parameters = dict(model.parameters)
    parameters["blocks.1.attn.qkv.weight"] = parameters["blocks.1.attn.qkv.weight"] * 30
    with pytest.raises(QuantizeError, match=r"blocks\.1\.attn: logits reach \d+ octaves .* 200"):
        quantize_model(replace(model, parameters=parameters), random_images(SMALL, 4))


def test_dead_channels_and_silent_layers():
    model = random_float(ODD, 0, outliers=False)
    parameters = {name: value.copy() for name, value in model.parameters.items()}
    parameters["blocks.0.attn.qkv.weight"][:] = 0
    parameters["blocks.0.attn.qkv.bias"][:] = 0
    parameters["blocks.0.mlp.fc1.weight"][:] = 0
    parameters["blocks.0.mlp.fc1.bias"][:] = -1
    parameters["blocks.1.norm1.weight"][2] = parameters["blocks.1.norm1.bias"][2] = 0
    parameters["blocks.1.mlp.fc2.weight"][4] = 0
    parameters["head.weight"][1] = 0
    images = random_images(ODD, 16)
    ratios = compare(quantize_model(replace(model, parameters=parameters), images), images)
    assert min(ratios.values()) > 30, ratios


def test_constant_model():
    model = random_float(SMALL, 0, outliers=False)
    parameters = {name: value * 0 for name, value in model.parameters.items()}
    model = quantize_model(replace(model, parameters=parameters), random_images(SMALL, 2))
    assert (vit(model, random_images(SMALL, 2)) == 0).all()


def test_residual_has_its_headroom():
    model, images, peak = random_model(SMALL, outliers=False), random_images(SMALL, 16), []

    def collect(name, array):
        peak.append(np.abs(array).max() if name.endswith(SCALED) else 0)

    float_forward(float_model_of(model), images, collect)
    assert model.scales["residual"] == pytest.approx(RESIDUAL_HEADROOM * max(peak) / 32767)


def test_multiplier_shift():
    rng = np.random.default_rng(0)
    real = 2.0 ** rng.uniform(-32, 15.9, 5000)
    multiplier, shift = multiplier_shift(real, "x")
    assert multiplier.min() >= 2**15
    assert shift.max() <= 48
    assert np.abs(multiplier / 2.0**shift / real - 1).max() <= 2**-16
    multiplier, shift = multiplier_shift([1 - 2**-20, 2**-47, 0, 1], "x")
    assert multiplier.tolist() == [32768, 2, 0, 32768]
    assert shift.tolist() == [15, 48, 16, 15]
    for bad in (65536.0, np.inf, np.nan):
        with pytest.raises(QuantizeError, match=r"blocks\.0\.fc1: cannot rescale by"):
            multiplier_shift([0.5, bad], "blocks.0.fc1")


def test_a_bias_far_above_its_weights_fits():
    tensors = linear_tensors("x", [[1e-9, 0], [0, 0]], [5.0, -3.0], 0.01, 0.001)
    assert np.abs(tensors["x.bias"]).max() <= 2**30
    real = tensors["x.bias"] * (tensors["x.mult"] / 2.0 ** tensors["x.shift"]) * 0.001
    assert real == pytest.approx([5, -3], rel=1e-4)


def test_norm_tensors_refuse_what_does_not_fit():
    with pytest.raises(QuantizeError, match=r"norm: gain, offset or epsilon is too large"):
        norm_tensors("norm", np.ones(8), np.ones(8), np.ones(8), 1e-9, 1e-6)


def test_tiny_residuals_keep_their_epsilon():
    model = random_float(SMALL, 0, outliers=False)
    parameters = dict(model.parameters)
    for name in parameters:
        if name.endswith((".proj.weight", ".proj.bias", "fc2.weight", "fc2.bias")):
            parameters[name] = parameters[name] * np.float32(1e-4)
    parameters["cls_token"] = parameters["cls_token"] * 0
    parameters["pos_embed"] = parameters["pos_embed"] * np.float32(1e-4)
    model = replace(model, parameters=parameters)
    quantized = quantize_model(model, random_images(SMALL, 8))
    assert quantized["norm.epsilon"][0] > 2**10
    assert compare(quantized, random_images(SMALL, 8, seed=1))["head"] > 25


def test_quantize_file(tmp_path):
    source, out = tmp_path / "float.safetensors", tmp_path / "model.safetensors"
    model = random_float(SMALL)
    config = dict(vars(SMALL))
    del config["head_dim"]
    metadata = {"config": json.dumps(config), "mean": "0.286", "std": "[0.353]", "seed": "0"}
    write_tensors(source, model.parameters, metadata)
    images = random_images(SMALL, 8)
    quantize_file(source, out, images)
    first, got = out.read_bytes(), load(out)
    assert got.provenance["seed"] == "0"
    assert got.provenance["calibration_images"] == 8
    assert isinstance(got.config, ModelConfig)
    quantize_file(source, out, images)
    assert out.read_bytes() == first
    with pytest.raises(QuantizeError, match=r"float\.safetensors: calibration images: .*28 x 28"):
        quantize_file(source, out, np.zeros((1, 28, 28), np.uint8))
    with pytest.raises(QuantizeError, match="at least one image"):
        quantize_file(source, out, images[:0])


def test_the_first_blocks_of_a_named_model():
    model = quantized_named("deit_tiny_patch16_224:1")
    assert model.config.depth == 1
    with pytest.raises(QuantizeError, match=r"has 1\.\.12 blocks, not '13'"):
        quantized_named("deit_tiny_patch16_224:13")
