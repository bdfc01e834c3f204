"""Presets with other parameters, as every verb takes them."""

import json

import pytest
from jsonschema import validate

from spec.presets import preset
from spec.reports import PREDICTION

VERBS = [
    ("compile", "-m", "micro", "-p"),
    ("demo", "-p"),
    ("emit", "-p"),
    ("estimate", "-m", "micro", "-p"),
    ("simulate", "-m", "micro", "-p"),
    ("synth", "-p"),
    ("bench", "-p"),
]


@pytest.mark.parametrize("verb", VERBS, ids=[verb[0] for verb in VERBS])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tiny,bus=64", "preset 'tiny,bus=64': no parameter 'bus'; there are banks, lanes"),
        ("tiny,bus_bits=48", "preset 'tiny,bus_bits=48': bus_bits must be a power of two, not 48"),
        ("tiny,cls_scores=no", "cls_scores must be on or off, not 'no'"),
    ],
)
def test_refusals(sievit, verb, text, message):
    assert message in sievit(*verb, text).refused()


@pytest.mark.parametrize("verb", VERBS, ids=[verb[0] for verb in VERBS])
def test_help_shows_how(sievit, verb):
    assert "bus_bits=256" in sievit(verb[0], "--help").out


def test_an_estimate_with_another_bus(sievit, tmp_path):
    cycles = {}
    for text in ("asic512", "asic512,bus_bits=256"):
        path = tmp_path / "report.json"
        ended = sievit("estimate", "-p", text, "--json", path)
        assert ended.status == 0
        assert f"demo on {text}, ddr" in ended.out
        report = json.loads(path.read_text())
        validate(report, PREDICTION)
        assert report["preset"] == text
        cycles[text] = report["cycles"]
    assert cycles["asic512,bus_bits=256"] < cycles["asic512"]


def test_the_file_of_an_emission(sievit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = sievit("emit", "-p", "tiny,row_words=1024", "--json", "report.json")
    assert ended.status == 0
    assert [path.name for path in tmp_path.glob("*.v")] == ["tiny+row_words-1024.v"]
    assert json.loads((tmp_path / "report.json").read_text())["preset"] == "tiny,row_words=1024"


def test_an_image_is_for_one_machine(sievit, tmp_path):
    path = tmp_path / "micro.image"
    assert sievit("compile", "-m", "micro", "-p", "tiny,row_words=1024", "-o", path).status == 0
    refused = sievit("simulate", "-m", "micro", "-p", "tiny", "--image", path).refused()
    assert "compiled for config 'tiny,row_words=1024'" in refused
    assert preset("tiny").digest() != preset("tiny,row_words=1024").digest()
