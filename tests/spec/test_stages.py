"""Stages of a model configuration, and presets with other parameters."""

import json
from dataclasses import asdict, replace

import pytest

from spec.config import ConfigError
from spec.model_file import ModelConfig, ModelFileError, Stage, float_shapes, tensor_table
from spec.presets import PRESETS, preset
from tests.random_models import SMALL

DEEP = replace(SMALL, depth=4)


def stage(block=1, rule="selector", threshold=8192):
    return Stage(block=block, rule=rule, threshold=threshold)


def test_stages_go_through_json():
    config = replace(DEEP, stages=(stage(1), stage(3, "cls_attention", 500)), packages="each")
    assert ModelConfig.from_json(json.dumps(asdict(config)), "x") == config
    short = {**asdict(DEEP), "stages": [{"block": 2, "rule": "selector"}]}
    assert ModelConfig.from_json(json.dumps(short), "x").stages == (stage(2),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": (stage(0),)}, r"stages\[0\]: block must be an integer in 1..3, not 0"),
        ({"stages": (stage(4),)}, r"stages\[0\]: block must be an integer in 1..3, not 4"),
        ({"stages": (stage(True),)}, r"stages\[0\]: block must be an integer in 1..3, not True"),
        ({"stages": (stage(2), stage(2))}, r"stages\[1\]: block must be more than 2, .* not 2"),
        ({"stages": (stage(rule="random"),)}, "rule must be selector or cls_attention"),
        ({"stages": (stage(threshold=-1),)}, "threshold must be an integer in 0..65535, not -1"),
        ({"stages": (stage(threshold=65536),)}, "threshold must be an integer in 0..65535"),
        ({"stages": (stage(threshold=0.5),)}, "threshold must be an integer in 0..65535, not 0.5"),
        (
            {"stages": (Stage(block=1, rule="selector", tokens=11),)},
            r"stages\[0\]: tokens must be an integer in 0..10, not 11",
        ),
        ({"package": "sum"}, "package must be weighted, mean or none, not 'sum'"),
        ({"packages": "some"}, "packages must be merged or each, not 'some'"),
        (
            {"stages": (stage(),), "heads": 3, "head_dim": 5},
            r"stages\[0\]: rule selector needs heads that divide embed_dim \(16\), not 3",
        ),
        (
            {"stages": (stage(rule="cls_attention"),), "class_token": False, "pooling": "mean"},
            r"stages\[0\]: rule cls_attention needs a class_token",
        ),
        (
            {"stages": (stage(),), "heads": 32, "embed_dim": 64, "head_dim": 2},
            "heads must be at most 16 with stages, not 32",
        ),
        (
            {
                "image_size": 4,
                "stages": (stage(1, "cls_attention"), stage(2)),
                "packages": "each",
            },
            "stages must be at most 1, one package token for each patch, not 2",
        ),
    ],
)
def test_stages_that_cannot_be(changes, message):
    with pytest.raises(ModelFileError, match=message):
        replace(DEEP, **changes)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (3, "config: stages must be a list, not 3"),
        ([{"block": 1}], r"config: stages\[0\] must have block and rule"),
        ([{"block": 1, "rule": "selector", "keep": 1}], r"stages\[0\] must have block and rule"),
        (["selector"], r"stages\[0\] must have block and rule"),
    ],
)
def test_stages_of_a_file_that_cannot_be(stages, message):
    with pytest.raises(ModelFileError, match=message):
        ModelConfig.from_json(json.dumps({**asdict(DEEP), "stages": stages}), "x")


def test_only_a_classifier_has_tensors():
    config = replace(DEEP, stages=(stage(1), stage(2, "cls_attention")))
    for table in (tensor_table(config), float_shapes(config)):
        blocks = {name.split(".selector")[0] for name in table if ".selector." in name}
        assert {name.removeprefix("float.") for name in blocks} == {"blocks.1"}


def test_presets_with_other_parameters():
    config = preset("asic512,bus_bits=256,cls_scores=off")
    assert config == replace(
        PRESETS["asic512"],
        name="asic512,bus_bits=256,cls_scores=off",
        bus_bits=256,
        cls_scores=False,
    )
    assert config.digest() != PRESETS["asic512"].digest()
    dense = preset("asic512,token_selector=off,cls_scores=off")
    origins = 2 * dense.max_positions
    assert dense.sram_bytes == PRESETS["asic512"].sram_bytes - 3 * dense.max_tokens - origins


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("big", "no preset 'big'; there are asic512, small, tiny, ulx3s, zcu102"),
        ("tiny,", "no parameter ''; there are banks"),
        ("tiny,name=x", "no parameter 'name'"),
        ("tiny,speed=3", "no parameter 'speed'"),
        ("tiny,lanes=x", "lanes must be an integer, not 'x'"),
        ("tiny,cls_scores=1", "cls_scores must be on or off, not '1'"),
        ("tiny,lanes=7", "preset 'tiny,lanes=7': banks must divide lanes"),
        ("tiny,token_selector=off", "cls_scores needs token_selector"),
    ],
)
def test_presets_that_cannot_be(text, message):
    with pytest.raises(ConfigError, match=message):
        preset(text)
