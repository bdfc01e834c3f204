"""`sievit efforts`: which efforts and thresholds it chooses."""

import json

import pytest
from jsonschema import validate

from cli.options import BUNDLED
from spec.effort_report import EFFORTS
from spec.model_file import load
from spec.reports import RUN

MODEL = ("efforts", "-m", BUNDLED / "micro-effort.safetensors", "-p", "tiny")


def test_efforts(sievit, tmp_path):
    pytest.importorskip("matplotlib")
    path, plot, out = (tmp_path / name for name in ("efforts.json", "efforts.svg", "out.st"))
    ended = sievit(*(*MODEL, "--target-cycles", 2900, "--json", path, "--plot", plot, "--out", out))
    assert ended.status == 0
    report = json.loads(path.read_text())
    validate(report, EFFORTS)
    assert report["images_calibration"] == report["images_held_out"] == 160
    for similarity in report["similarity"]:
        assert f"{similarity:.4f}" in ended.out
    chosen = report["chosen"]
    assert chosen["calibration"]["cycles"] <= 2900
    assert f"{chosen['held_out']['cycles']:,.0f}" in ended.out
    assert "held-out" in plot.read_text()
    efforts = load(out).config.efforts
    assert [list(effort.skipped) for effort in efforts] == [
        effort["skipped"] for effort in chosen["efforts"]
    ]
    assert [effort.threshold for effort in efforts] == [
        effort["threshold"] for effort in chosen["efforts"]
    ]
    whole = max(entry["held_out"]["cycles"] for entry in report["paths"])
    assert chosen["held_out"]["cycles"] < whole


def test_the_chosen_model_runs_with_the_accuracy_that_was_reported(sievit, tmp_path):
    path, ran, out = (tmp_path / name for name in ("efforts.json", "run.json", "out.st"))
    assert sievit(*MODEL, "--target-cycles", 2900, "--json", path, "--out", out).status == 0
    assert sievit("run", "-m", out, "--json", ran).status == 0
    chosen, found = json.loads(path.read_text())["chosen"], json.loads(ran.read_text())
    validate(found, RUN)
    both = (chosen["calibration"]["top1"] + chosen["held_out"]["top1"]) / 2
    assert found["top1_integer"] == pytest.approx(both)


def test_paths_by_number(sievit, tmp_path):
    path = tmp_path / "efforts.json"
    words = ("efforts", "-m", "micro", "--active", "1", "--images", "20", "--calibration", "30")
    assert sievit(*words, "--json", path).status == 0
    report = json.loads(path.read_text())
    assert (report["images_calibration"], report["images_held_out"]) == (30, 20)
    least = max(range(2), key=lambda block: report["similarity"][block])
    assert [entry["efforts"][0]["skipped"] for entry in report["paths"]] == [[least], []]
    assert sievit(*words, "--score", "output", "--json", path).status == 0
    report = json.loads(path.read_text())
    assert report["score"] == "output"
    assert report["paths"][0]["efforts"][0]["skipped"] == report["order"][:1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-m", "micro", "--active", "1,3"), "--active must be numbers of blocks in 1..2"),
        (("-m", "micro", "--score", "best"), "--score must be block or output, not 'best'"),
        (("-m", "micro", "--target-cycles", "10"), "no efforts take at most 10 cycles"),
        (("-m", "micro-tokens"), "micro-tokens: has stages"),
        (("-m", "micro", "-d", "random"), "needs at least 4 images with labels"),
    ],
)
def test_bad_input(sievit, words, message):
    ended = sievit("efforts", *words)
    assert ended.status == 2
    assert message in ended.err
