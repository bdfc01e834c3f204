"""Efforts of float and quantised models: names, the gate's factor, ranges, reports."""

from dataclasses import replace

import numpy as np
import pytest

from cli.options import load_dataset, load_model
from golden_model import vit
from golden_model.vit import answer
from quantize import QuantizeError, calibrate, float_forward, float_model_of, quantize_model
from quantize.efforts import split_efforts, threshold_code, with_efforts
from quantize.float_forward import effort_forward, entropy
from quantize.float_model import load_float, save_float
from quantize.masks import average_attention
from quantize.named import named_shape, quantized_named
from quantize.report import quality
from quantize.variants import sieves_of, variants, without
from spec.efforts import Effort
from spec.model_file import load, save
from spec.presets import preset
from tests.effort_models import parting, skipping
from tests.random_models import CONFIGS, random_float, random_images, random_model
from tests.shapes import model_of

TINY_NAME = "deit_tiny_patch16_224:3"


def with_passes(model, *efforts):
    """A float model with efforts."""
    return replace(model, config=replace(model.config, efforts=efforts))


@pytest.mark.parametrize(
    ("name", "base", "efforts"),
    [
        ("micro", "micro", ()),
        ("micro~skip1", "micro", (Effort(skipped=(1,)),)),
        ("a~skip1.3@0.7", "a", (Effort(skipped=(1, 3), threshold=717), Effort())),
        (
            "a~0.90~skip0@.5+2:0.5~skip1",
            "a~0.90+2:0.5",
            (Effort(skipped=(0,), threshold=512), Effort(skipped=(1,))),
        ),
        (
            "a~skip0@0~skip1@2",
            "a",
            (Effort(skipped=(0,)), Effort(skipped=(1,), threshold=2048), Effort()),
        ),
    ],
)
def test_names(name, base, efforts):
    assert split_efforts(name) == (base, efforts)


@pytest.mark.parametrize(
    "name", ["a~skip", "a~skip1.", "a~skip1@", "a~skip-1", "a~skip1~skip2", "a~skip1@x", "a~skipx"]
)
def test_bad_names(name):
    with pytest.raises(QuantizeError, match="an effort is ~skipBLOCK"):
        split_efforts(name)


def test_thresholds_are_in_units_of_a_1024th_bit():
    assert threshold_code(0.5) == 512
    assert threshold_code(63.999) == 65535
    for bits in (64, -1):
        with pytest.raises(QuantizeError, match=r"a threshold must be 0\.\.63\.999 bits"):
            threshold_code(bits)


def test_named_models_have_efforts_and_other_sieves():
    name = f"{TINY_NAME}~0.90+2:0.5~skip1@6"
    model = quantized_named(name)
    assert model.config.efforts == (Effort(skipped=(1,), threshold=6144), Effort())
    assert named_shape(name).efforts == model.config.efforts
    assert any(model.config.masks)
    assert len(model.config.stages) == 1
    dense = quantized_named(f"{TINY_NAME}~skip1")
    assert dense.config.efforts == (Effort(skipped=(1,)),)
    assert "gate.mult" not in dense.tensors


def test_bundled_models_keep_their_integers():
    model, base = load_model("micro~skip1@2"), load_model("micro")
    assert {name for name in model.tensors if name not in base.tensors} == {
        "gate.mult",
        "gate.shift",
    }
    assert all((model[name] == base[name]).all() for name in base.tensors)
    assert with_efforts(model, ()).tensors.keys() == base.tensors.keys()
    images = load_dataset("sample", "test", model.config).images
    found = answer(model, images)
    assert 0.2 < found.effort.mean() < 0.8


def test_the_gate_has_the_unit_of_the_logits():
    """The golden gate decides as the entropy of the real logits does, but for its error."""
    model = load_model("micro~skip1@2")
    multiplier, shift = model.gate_scale
    unit = model.scales["head"] * np.log2(np.e) * 2**7
    assert multiplier * 2.0**-shift == pytest.approx(unit, rel=2**-15)
    images = load_dataset("sample", "test", model.config).images
    low = vit(with_efforts(model, [Effort(skipped=(1,))]), images)
    bits = entropy(low * model.scales["head"])
    early = answer(model, images).effort == 0
    assert 0 < early.sum() < len(images)
    assert bits[early].max() < 2 + 0.032
    assert bits[~early].min() > 2 - 0.032


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_float_and_integers_agree(config):
    efforts = (Effort(skipped=(1,), threshold=1500), Effort())
    original = with_passes(random_float(config, outliers=False), *efforts)
    images = random_images(config, 16)
    model = quantize_model(original, images)
    assert model.config.efforts == efforts
    seen, floats = {}, {}
    for number, effort in enumerate(efforts):
        effort_forward(
            float_model_of(model), images, effort, floats.__setitem__, prefix=f"efforts.{number}."
        )
        alone = with_efforts(model, [replace(effort, threshold=0)])
        vit(alone, images, lambda name, array, n=number: seen.update({f"{n}.{name}": array}))
        got = seen[f"{number}.head"] * model.scales["head"]
        true = floats[f"efforts.{number}.head"]
        assert np.corrcoef(got.reshape(-1), true.reshape(-1))[0, 1] > 0.99
        assert f"efforts.{number}.blocks.0.norm1" in floats
        assert (f"efforts.{number}.blocks.1.norm1" in floats) == bool(number)


def test_float_takes_the_effort_that_its_entropy_says():
    config = CONFIGS["small"]
    dense = random_float(config, outliers=False)
    images = random_images(config, 20)
    low = float_forward(with_passes(dense, Effort(skipped=(1,))), images)
    bits = entropy(low)
    threshold = int(np.median(bits) * 1024)
    both = with_passes(dense, Effort(skipped=(1,), threshold=threshold), Effort())
    early = bits <= threshold / 1024
    assert 0 < early.sum() < len(images)
    expected = np.where(early[:, None], low, float_forward(dense, images))
    np.testing.assert_allclose(float_forward(both, images), expected, rtol=1e-4, atol=1e-5)


def test_ranges_are_those_of_all_efforts():
    config = CONFIGS["small"]
    dense = random_float(config)
    images = random_images(config, 8)
    alone = [
        calibrate.calibrate(model, images)
        for model in (dense, with_passes(dense, Effort(skipped=(0,)), Effort()))
    ]
    low = calibrate.calibrate(with_passes(dense, Effort(skipped=(0,))), images)
    both = alone[1]
    assert both.residual == max(alone[0].residual, low.residual)
    assert both.logits == max(alone[0].logits, low.logits)
    # a pass that skips nothing is there for block 0's attention in both
    assert np.array_equal(both.blocks[1].norm1, low.blocks[1].norm1)
    assert np.array_equal(both.blocks[0].q, alone[0].blocks[0].q)
    assert (both.blocks[1].norm1 >= alone[0].blocks[1].norm1).all()
    assert (both.blocks[1].norm1 > alone[0].blocks[1].norm1).any()


def test_reports_have_every_effort_taken():
    model = parting(random_model(CONFIGS["small"], outliers=False), (1,), ())
    images = random_images(CONFIGS["small"], 24, seed=9)
    taken = answer(model, images).effort
    found = quality(model, images)
    names = {tensor.name for tensor in found.tensors}
    assert {"efforts.0.head", "efforts.1.head", "efforts.1.blocks.1.attn.probs"} <= names
    assert "efforts.0.blocks.1.attn.probs" not in names
    assert min(tensor.sqnr_db for tensor in found.tensors) > 15
    assert found.token_cosines.min() > 0.99
    early = quality(model, images[taken == 0][:1])
    assert not any(tensor.name.startswith("efforts.1.") for tensor in early.tensors)


def test_reports_of_stages_and_efforts():
    model = load_model("micro-tokens~skip0@2.5")
    images = load_dataset("sample", "test", model.config, 6).images
    found = quality(model, images[:6])
    assert any(tensor.name == "efforts.0.blocks.1.selector.tokens" for tensor in found.tensors)


def test_files_have_efforts(tmp_path):
    model = load_model("micro~skip0@1~skip1@2")
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.config == model.config
    assert again.gate_scale == model.gate_scale
    floats = float_model_of(model)
    save_float(floats, tmp_path / "f.safetensors")
    assert load_float(tmp_path / "f.safetensors").config == model.config


def test_attention_maps_are_those_of_all_blocks():
    model = float_model_of(load_model("micro"))
    images = random_images(model.config, 4)
    maps = average_attention(model, images)
    skipped = average_attention(with_passes(model, Effort(skipped=(0, 1))), images)
    np.testing.assert_array_equal(maps, skipped)


def test_efforts_are_a_sieve_of_their_own():
    model, config = load_model("micro~skip1@2"), preset("tiny")
    assert sieves_of(model, config) == ("efforts",)
    assert [one.name for one in variants(model, config)] == ["dense", "efforts"]
    assert without(model, "efforts").config == load_model("micro").config
    assert skipping(model_of("micro"), 1).config.efforts == (Effort(skipped=(1,)),)
