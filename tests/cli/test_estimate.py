"""`estimate`: what it prints and writes, and what it refuses."""

import json

import pytest
from jsonschema import validate

from spec.reports import PREDICTION


def test_estimate_of_a_bundled_model(sievit, tmp_path):
    path = tmp_path / "report.json"
    ended = sievit("estimate", "--model", "micro", "--dram", "ideal", "--layers", "--json", path)
    assert ended.status == 0
    report = json.loads(path.read_text())
    validate(report, PREDICTION)
    assert (report["model"], report["preset"], report["dram"]) == ("micro", "tiny", "ideal")
    assert f"{report['cycles']:,}" in ended.out
    assert "blocks.1.mlp.fc2" in ended.out


def test_estimate_by_name_needs_no_weights(sievit, tmp_path):
    path = tmp_path / "report.json"
    ended = sievit(
        "estimate", "--model", "deit_tiny_patch16_224", "--preset", "asic512", "--json", path
    )
    assert ended.status == 0
    assert "random weights" not in ended.err
    assert json.loads(path.read_text())["instructions"] > 1000


def test_unknown_memory(sievit):
    ended = sievit("estimate", "--dram", "hbm")
    assert ended.status == 2
    assert "no dram 'hbm'; there are ideal, ddr" in ended.err


def test_a_model_that_does_not_fit(sievit):
    ended = sievit("estimate", "--model", "deit_tiny_patch16_224", "--preset", "tiny")
    assert ended.status == 2
    assert "tokens" in ended.err


def test_picture(sievit, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "cycles.svg"
    ended = sievit("estimate", "--model", "micro", "--plot", path)
    assert ended.status == 0
    assert path.stat().st_size > 1000


def test_several_head_groups_are_refused(sievit):
    ended = sievit("estimate", "--model", "micro", "--preset", "zcu102")
    assert ended.status == 2
    assert "only machines of one head group are predicted" in ended.err
