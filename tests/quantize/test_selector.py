"""Quantised token selectors follow the float ones, and calibration sees only what is alive."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from golden_model import evaluate, vit
from quantize import (
    QuantizeError,
    float_forward,
    float_logits,
    float_model_of,
    load_float,
    quantize_model,
)
from quantize.calibrate import calibrate
from quantize.float_selector import FloatSequences, float_select
from quantize.report import quality
from spec.model_config import Stage
from spec.model_file import load, save, write_tensors
from tests.random_models import ODD, SMALL, WIDE, random_float, random_images

HALF = 8192


def selectors(*blocks, threshold=HALF):
    return tuple(Stage(block=block, rule="selector", threshold=threshold) for block in blocks)


CHOICES = {
    "one stage": replace(SMALL, stages=selectors(1)),
    "stages in a row": replace(SMALL, depth=4, stages=selectors(1, 2, 3)),
    "a package each": replace(SMALL, depth=4, stages=selectors(1, 3), packages="each"),
    "plain means": replace(SMALL, depth=3, stages=selectors(1, 2), package="mean"),
    "no package": replace(SMALL, depth=3, stages=selectors(1, 2), package="none"),
    "all kept": replace(SMALL, stages=selectors(1, threshold=0)),
    "none kept": replace(SMALL, depth=3, stages=selectors(1, 2, threshold=65535)),
    "wide": replace(WIDE, stages=selectors(1, 2)),
    "mean of patches": replace(SMALL, class_token=False, pooling="mean", stages=selectors(1)),
    "attention of CLS": replace(
        SMALL,
        depth=3,
        stages=(
            Stage(block=1, rule="cls_attention", threshold=3277),
            *selectors(2, threshold=HALF),
        ),
    ),
    "three heads": replace(
        ODD,
        embed_dim=21,
        head_dim=7,
        stages=(Stage(block=1, rule="cls_attention", threshold=5000),),
    ),
}


def staged(config, seed=0):
    """A random model; thresholds of one half become the median of the scores."""
    model = random_float(config, seed, outliers=False)
    parameters = dict(model.parameters)
    for name, value in model.parameters.items():
        if ".selector." in name and name.endswith("weight"):
            parameters[name] = value * np.float32(3)
        if name.endswith("score3.bias"):
            parameters[name] = value * np.float32(0)
    model = replace(model, parameters=parameters)
    for number, stage in enumerate(config.stages):
        if stage.threshold != HALF:
            continue
        scores = []

        def collect(name, array, block=stage.block, scores=scores):
            if name == f"blocks.{block}.selector.score":
                scores.extend(array[:, config.prefix_tokens :].ravel())

        float_forward(model, random_images(config, 16), collect)
        threshold = round(np.median(scores) * (1 << 14))
        stages = list(model.config.stages)
        stages[number] = replace(stage, threshold=threshold)
        model = replace(model, config=replace(model.config, stages=tuple(stages)))
    return model


def kept_counts(run):
    """Tokens that stay at each stage, for each group of images: [(block, counts)]."""
    found = []

    def collect(name, array):
        if name.endswith("selector.kept"):
            found.append((name, array.sum(axis=1).tolist()))

    run(collect)
    return found


@pytest.mark.parametrize("config", CHOICES.values(), ids=CHOICES)
def test_every_tensor_of_a_stage_follows_the_float_model(config):
    model = quantize_model(staged(config), random_images(config, 32))
    found = quality(model, random_images(config, 12, seed=7))
    low = {t.name: t.sqnr_db for t in found.tensors if t.sqnr_db < 20}
    assert low == {}
    names = [t.name for t in found.tensors]
    for stage in config.stages:
        assert f"blocks.{stage.block}.selector.score" in names
        assert f"blocks.{stage.block}.selector.tokens" in names
    assert np.nanmin(found.token_cosines) > 0.99


@pytest.mark.parametrize("config", CHOICES.values(), ids=CHOICES)
def test_float_images_part_as_integer_ones_do(config):
    model = quantize_model(staged(config), random_images(config, 32))
    images = random_images(config, 40, seed=3)
    floats = kept_counts(lambda c: float_forward(float_model_of(model), images, c))
    integers = kept_counts(lambda c: vit(model, images, c))
    first, second = (np.array(found[0][1]) for found in (floats, integers))
    assert np.abs(first - second).mean() < 1
    if all(0 < stage.threshold < 65535 for stage in config.stages):
        assert len(set(first.tolist())) > 1, "all images keep equally many: the test sees nothing"


def test_groups_give_the_same_logits_as_single_images():
    model = staged(CHOICES["stages in a row"])
    images = random_images(model.config, 24, seed=3)
    together = float_forward(model, images)
    alone = np.concatenate([float_forward(model, image[None]) for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(float_logits(model, images), together, atol=1e-5)


def test_decisions_may_be_given():
    model = staged(CHOICES["one stage"])
    images = random_images(model.config, 2)
    kept = np.zeros((2, 10), bool)
    kept[:, 0] = kept[0, 3:5] = True
    decisions = {(1, image): kept[image] for image in range(2)}
    left = []

    def collect(name, array):
        if name.endswith("selector.tokens"):
            left.append(array.shape)

    float_forward(model, images, collect, decisions)
    assert left == [(1, 2, 16), (1, 4, 16)]


def test_calibration_sees_only_rows_that_are_alive():
    """With all patches dropped, block 1 has CLS and the package: 4 images give 8 rows."""
    model = staged(CHOICES["none kept"])
    images, rows = random_images(model.config, 4), []

    def collect(name, array):
        if name == "blocks.1.attn.q":
            rows.append(array.reshape(-1, array.shape[-1]))

    float_forward(model, images, collect)
    assert sum(map(len, rows)) == 8
    largest = np.abs(np.concatenate(rows)).max(axis=0).reshape(2, 8).max(axis=1)
    np.testing.assert_allclose(calibrate(model, images).blocks[1].q, largest, rtol=1e-5)


def test_scores_of_the_prefix_do_not_count_in_calibration():
    model = staged(CHOICES["one stage"])
    images = random_images(model.config, 8)
    before = calibrate(model, images).blocks[1].selector
    local = model["blocks.1.selector.local.weight"]
    seen = []

    def collect(name, array):
        if name.endswith(("selector.local", "selector.global")):
            seen.append(array[:, int(name.endswith("local")) :])

    float_forward(model, images, collect)
    assert before.high["local"] == pytest.approx(max(x.max() for x in seen), rel=1e-5)
    assert local.shape == (2, 4, 8)


def test_package_is_inside_what_was_dropped():
    model = staged(CHOICES["none kept"])
    x = np.random.default_rng(0).normal(size=(3, 10, 16))
    stage = model.config.stages[0]
    tokens = FloatSequences.whole(x, np.arange(3))
    (group,) = float_select(model, stage, tokens, lambda name, array: None)
    assert group.x.shape == (3, 2, 16)
    assert group.packages == 1
    assert (group.x[:, 1] <= x[:, 1:].max(axis=1)).all()
    assert (group.x[:, 1] >= x[:, 1:].min(axis=1)).all()


def test_keep_logits_beyond_their_format_are_refused():
    model = staged(CHOICES["one stage"])
    parameters = dict(model.parameters)
    parameters["blocks.1.selector.score3.weight"] = np.full((2, 2, 2), 1e3, np.float32)
    parameters["blocks.1.selector.score3.weight"][:, 1] *= -1
    parameters["blocks.1.selector.score2.bias"] = np.full((2, 2), 3, np.float32)
    with pytest.raises(
        QuantizeError, match=r"blocks\.1\.selector: keep logits reach \d+ octaves .* 200"
    ):
        quantize_model(replace(model, parameters=parameters), random_images(model.config, 4))


def test_selector_inputs_beyond_gelus_format_are_told():
    model, lines = staged(CHOICES["one stage"]), []
    parameters = dict(model.parameters)
    parameters["blocks.1.selector.local.bias"] = np.full((2, 4), 200, np.float32)
    for name in ("score1.weight", "score2.weight"):
        parameters[f"blocks.1.selector.{name}"] = parameters[f"blocks.1.selector.{name}"] / 1000
    model = replace(model, parameters=parameters)
    quantize_model(model, random_images(model.config, 4), lines.append)
    assert any(line.startswith("blocks.1.selector: GELU inputs reach 20") for line in lines)


def float_file(path, model, **metadata):
    metadata = {"config": json.dumps(asdict(model.config)), "mean": "0.3", "std": "0.4"} | metadata
    write_tensors(path, model.parameters, metadata)


def test_files_have_stages(tmp_path):
    source, out = tmp_path / "float.safetensors", tmp_path / "model.safetensors"
    original = staged(CHOICES["stages in a row"])
    float_file(source, original)
    model = load_float(source)
    assert model.config.stages == original.config.stages
    images = random_images(model.config, 8)
    quantized = quantize_model(model, images)
    save(quantized, out)
    again = load(out)
    assert again.config.stages == original.config.stages
    assert (evaluate(again, images).logits == evaluate(quantized, images).logits).all()


def test_other_gelus_are_refused(tmp_path):
    path = tmp_path / "float.safetensors"
    model = random_float(SMALL)
    float_file(path, model, delta1="1.0")
    assert load_float(path).config == SMALL
    float_file(path, model, delta1="0.5")
    with pytest.raises(QuantizeError, match=r"float\.safetensors: trained with delta1 = 0\.5"):
        load_float(path)
