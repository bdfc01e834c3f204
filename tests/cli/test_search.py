"""`sievit search`: tables, files, the JSON contract, and what it refuses."""

import json

import numpy as np
import pytest
from jsonschema import validate

pytest.importorskip("optuna")

from spec.model_file import load, read_tensors
from spec.presets import preset
from spec.search_report import SEARCH
from tests.cli.files import MICRO, images_file

SMALL = ("--dataset", "sample", "--images", 32, "--predict", 1, "--generation", 4)


def test_search(sievit, tmp_path):
    pytest.importorskip("matplotlib")
    path, plot, folder, study = (tmp_path / name for name in ("a.json", "a.svg", "points", "study"))
    ended = sievit(
        *("search", "-m", "micro-all", "--max-drop", 5, "--trials", 7, "--held-out", 16, *SMALL),
        *("--json", path, "--plot", plot, "--export", folder, "--study", study),
        *("--energy", "0,0,1e6"),
    )
    assert ended.status == 0, ended.err
    report = json.loads(path.read_text())
    validate(report, SEARCH)
    assert report["trials"] == 8
    assert len(report["points"]) + len(report["refused"]) == 8
    assert report["max_drop"] == 0.05
    for point in report["points"]:
        assert point["energy_proxy_uj"] == point["dram_bytes"]
    points = {point["trial"]: point for point in report["points"]}
    assert points[report["chosen"]]["top1"] >= points[0]["top1"] - 0.05
    for entry in report["front"]:
        assert 0 <= entry["top1_held_out"] <= 1
        assert f"{points[entry['trial']]['cycles']:,.0f}" in ended.out
        model = load(folder / f"trial-{entry['trial']}.safetensors")
        text = (folder / f"trial-{entry['trial']}.preset").read_text().strip()
        assert preset(text).name == points[entry["trial"]]["preset"]
        assert model.config.classes == 10
    _, tensors = read_tensors(folder / "images.safetensors")
    assert tensors["images"].shape == (1, 12, 12)
    assert "proxy" in ended.out
    assert "an estimate" in ended.out.replace("\n", " ")
    assert "chosen" in plot.read_text()


def test_a_target_out_of_reach(sievit, tmp_path):
    path = tmp_path / "a.json"
    ended = sievit(
        "search", "-m", MICRO, "--target-cycles", 9, "--trials", 4, *SMALL, "--json", path
    )
    assert ended.status == 1
    assert "none of " in ended.err
    assert json.loads(path.read_text())["chosen"] is None


def test_bad_input(sievit, tmp_path):
    micro = ("search", "-m", MICRO, *SMALL)
    assert "give one of them" in sievit(*micro, "--max-drop", 1, "--target-cycles", 9).refused()
    assert "no preset 'huge'" in sievit(*micro, "-p", "huge").refused()
    assert "not 'colour'" in sievit(*micro, "--knobs", "colour").refused()
    assert "give one of them" in sievit(*micro, "--jobs", 2, "--cluster", "tcp://a:1").refused()
    for text in ("1,2", "1,2,x", "-1,2,3", "1,2,nan", "1,inf,2"):
        assert "--energy must be three numbers" in sievit(*micro, f"--energy={text}").refused()
    no_folder = sievit(*micro, "--export", tmp_path / "no" / "folder")
    assert "No such file or directory" in no_folder.refused()
    study = tmp_path / "study"
    assert sievit(*micro, "--trials", 1, "--study", study).status == 0
    other = sievit("search", "-m", "micro-relu", *SMALL, "--study", study)
    assert "a study with another" in other.refused()
    unlabelled = sievit(*micro, "--dataset", "random")
    assert "needs labels" in unlabelled.refused()
    few = images_file(tmp_path / "few.safetensors", np.zeros((2, 12, 12), np.uint8))
    assert sievit(*micro, "--trials", 1, "--dataset", few).status == 0


def test_a_model_that_does_not_fit(sievit):
    refused = sievit("search", "-m", MICRO, "-p", "tiny,token_words=8", *SMALL).refused()
    assert "the model as it is does not run on this machine" in refused
