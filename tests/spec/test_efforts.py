"""Efforts of a model configuration."""

import json
from dataclasses import asdict, replace

import pytest

from spec.model_config import Effort
from spec.model_file import ModelConfig, ModelFileError, Stage, tensor_table
from tests.random_models import SMALL

DEEP = replace(SMALL, depth=4)
LOW, HIGH = Effort(skipped=(1, 3), threshold=700), Effort()


def test_efforts_go_through_json():
    config = replace(DEEP, efforts=(LOW, HIGH))
    assert ModelConfig.from_json(json.dumps(asdict(config)), "x") == config
    assert ModelConfig.from_json(json.dumps({**asdict(DEEP)}), "x").passes == (HIGH,)


def test_only_a_gate_needs_a_scale():
    one, two = (replace(DEEP, efforts=efforts) for efforts in ((HIGH,), (LOW, HIGH)))
    assert tensor_table(two).keys() - tensor_table(one).keys() == {"gate.mult", "gate.shift"}
    assert tensor_table(one) == tensor_table(DEEP)


@pytest.mark.parametrize(
    ("efforts", "message"),
    [
        ((Effort(skipped=(4,)),), r"efforts\[0\]: skipped must hold blocks in 0..3, .* not \[4\]"),
        ((Effort(skipped=(2, 1)),), r"skipped must hold blocks in 0..3, ascending, not \[2, 1\]"),
        ((Effort(skipped=(1, 1)),), r"ascending, not \[1, 1\]"),
        ((Effort(skipped=(True,)),), r"not \[True\]"),
        ((Effort(threshold=-1), HIGH), r"efforts\[0\]: threshold must be an .* 0..65535, not -1"),
        ((Effort(threshold=1 << 16), HIGH), "threshold must be an integer in 0..65535, not 65536"),
        ((Effort(threshold=0.5), HIGH), "threshold must be an integer in 0..65535, not 0.5"),
        ((HIGH, LOW), r"efforts\[1\]: threshold must be 0, the last effort always ends, not 700"),
        ((LOW, LOW, LOW, HIGH), "efforts must be at most 3, not 4"),
    ],
)
def test_bad_efforts(efforts, message):
    with pytest.raises(ModelFileError, match=message):
        replace(DEEP, efforts=efforts)


def test_scores_need_the_attention_before():
    stage = Stage(block=2, rule="cls_attention")
    with pytest.raises(ModelFileError, match=r"efforts\[0\]: block 1 must not be skipped"):
        replace(DEEP, stages=(stage,), efforts=(LOW, HIGH))
    replace(DEEP, stages=(replace(stage, block=1),), efforts=(LOW, HIGH))


@pytest.mark.parametrize("entry", [{}, {"skipped": 1}, {"skipped": [], "blocks": 1}, 3])
def test_malformed_entries(entry):
    text = json.dumps({**asdict(DEEP), "efforts": [entry]})
    with pytest.raises(ModelFileError, match=r"x: config: efforts\[0\] must have a list"):
        ModelConfig.from_json(text, "x")
