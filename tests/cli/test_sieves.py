"""`sievit sieves`, and what `sievit run` says of models with sieves."""

import json

import pytest
from jsonschema import validate

from cli.options import BUNDLED
from spec.model_file import load, save
from spec.reports import RUN, SIEVES
from tests.sieved_models import masked, with_thresholds

TOKENS = BUNDLED / "micro-tokens.safetensors"


@pytest.fixture(scope="module")
def sieved(tmp_path_factory):
    """A model file with every sieve."""
    path = tmp_path_factory.mktemp("models") / "sieved.safetensors"
    save(with_thresholds(masked(load(TOKENS), 0.3)), path)
    return path


def test_sieves(sievit, sieved, tmp_path):
    pytest.importorskip("matplotlib")
    path, plot = tmp_path / "sieves.json", tmp_path / "sieves.svg"
    ended = sievit("sieves", "-m", sieved, "--images", 2, "--plot", plot, "--json", path)
    assert ended.status == 0
    report = json.loads(path.read_text())
    validate(report, SIEVES)
    names = [entry["name"] for entry in report["variants"]]
    assert names == ["dense", "tokens", "masks", "zeros", "thresholds", "all"]
    for entry in report["variants"]:
        assert entry["name"] in ended.out
        assert f"{entry['cycles']['mean']:,.0f}" in ended.out
    assert "thresholds" in plot.read_text()


def test_run_predicts_images_of_any_sieves(sievit, sieved, tmp_path):
    path = tmp_path / "run.json"
    ended = sievit(
        *("run", "-m", sieved, "-p", "tiny", "--images", 5, "--predict", 2, "--json", path)
    )
    assert ended.status == 0
    report = json.loads(path.read_text())
    validate(report, RUN)
    assert report["cycles_images"] == 2
    assert len(report["stages"]) == 3


def test_estimate_refuses_masks(sievit, sieved):
    assert "sievit sieves" in sievit("estimate", "-m", sieved).refused()
