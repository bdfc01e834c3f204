"""What sieves save: studies of models, without a simulation."""

from dataclasses import replace

import numpy as np
import pytest
from jsonschema import validate

from cli.options import BUNDLED
from golden_model.sieve import sieve
from perf_model import estimate
from sim.image_cycles import ImageCycles
from sim.sieve_study import sieve_study
from spec.dram import DRAM_PRESETS
from spec.model_file import load
from spec.presets import preset
from spec.reports import SIEVES
from tests.random_models import random_images, random_model
from tests.shapes import SHAPES
from tests.sieved_models import masked, with_thresholds

DDR, TINY = DRAM_PRESETS["ddr"], preset("tiny")


@pytest.fixture(scope="module")
def model():
    shape = replace(SHAPES["five_tokens"], activation="relu")
    return with_thresholds(masked(random_model(shape, outliers=False), 0.2))


def test_study(model):
    images = random_images(model.config, 3)
    told = []
    report = sieve_study(model, "five", TINY, "ddr", DDR, images, tell=told.append)
    validate(report, SIEVES)
    found = {entry["name"]: entry for entry in report["variants"]}
    assert list(found) == ["dense", "masks", "zeros", "thresholds", "all"]
    assert told == [f"{name}: 3 images" for name in found]
    shape = replace(model.config, masks=(), thresholds=False)
    assert found["dense"]["cycles"]["mean"] == estimate(shape, "", TINY, "ddr", DDR)["cycles"]
    network = found["dense"]["macs_done"]["mean"]
    for name, entry in found.items():
        skipped = entry["macs_skipped"]
        assert entry["macs_done"]["mean"] + sum(skipped.values()) == pytest.approx(network)
        assert (skipped["masked"] > 0) == (name in ("masks", "all"))
        assert (skipped["zero"] > 0) == (name in ("zeros", "thresholds", "all"))
        assert 0 < entry["attention_core_cycles"]["min"] < entry["cycles"]["min"]
    assert found["all"]["macs_done"]["mean"] < found["masks"]["macs_done"]["mean"]


def test_a_sample_where_time_depends_on_values(model):
    images, labels = random_images(model.config, 6), np.zeros(6, np.uint8)
    report = sieve_study(model, "five", TINY, "ddr", DDR, images, labels, 2)
    validate(report, SIEVES)
    for entry in report["variants"]:
        chosen = 6 if entry["name"] == "dense" else 2
        assert entry["cycles_images"] == chosen
        if chosen == 6:
            assert entry["cycles_error"] == 0
        else:
            half = (entry["cycles"]["max"] - entry["cycles"]["min"]) / 2
            assert entry["cycles_error"] == pytest.approx(half)
        assert 0 <= entry["top1_integer"] <= 1


def test_a_sample_where_time_depends_on_tokens():
    model = load(BUNDLED / "micro-tokens.safetensors")
    images = random_images(model.config, 6)
    report = sieve_study(model, "tokens", TINY, "ddr", DDR, images, None, 2)
    found = {entry["name"]: entry["cycles_images"] for entry in report["variants"]}
    assert (found["dense"], found["tokens"]) == (6, 2)


def test_cycles_of_images_that_differ_only_in_zeros(model):
    images = random_images(model.config, 3)
    cycles = ImageCycles(model, TINY, DDR)
    assert cycles.by_data
    left = sieve(model, images)
    told = []
    each = cycles.each(images, left, told.append)
    assert told == [1, 1, 1]
    assert each.tolist() == [run.cycles for run in cycles.runs(images, left)]
    dense = ImageCycles(random_model(SHAPES["micro"]), TINY, DDR)
    pictures = random_images(SHAPES["micro"], 2)
    assert not dense.by_data
    assert len(np.unique(dense.each(pictures, sieve(dense.model, pictures)))) == 1
