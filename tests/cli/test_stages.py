"""Verbs on models with stages: tables, JSON, pictures, and what they refuse."""

import json

import pytest
from jsonschema import validate

from cli.options import BUNDLED
from spec.reports import LATENCY, PREDICTION, RUN

TOKENS = BUNDLED / "micro-tokens.safetensors"


def test_run_counts_tokens(sievit, tmp_path):
    path = tmp_path / "run.json"
    ended = sievit(
        "run", "-m", TOKENS, "-p", "tiny", "--images", 12, "--predict", 3, "--json", path
    )
    assert ended.status == 0
    report = json.loads(path.read_text())
    validate(report, RUN)
    assert len(report["stages"]) == 3
    stage = report["stages"][-1]
    tokens = stage["tokens"]
    assert 2 <= tokens["min"] <= tokens["mean"] <= tokens["max"] <= 10
    assert stage["patches"]["max"] <= 9
    assert report["macs"]["min"] < report["macs_dense"]
    assert report["cycles_images"] == 3
    assert report["cycles"]["min"] <= report["cycles"]["mean"] <= report["cycles"]["max"]
    assert f"{report['macs_dense']:,}" in ended.out


def test_run_of_a_dense_model_predicts_cycles_too(sievit, tmp_path):
    path = tmp_path / "run.json"
    assert sievit("run", "-m", "micro", "-p", "tiny", "--images", 2, "--json", path).status == 0
    report = json.loads(path.read_text())
    validate(report, RUN)
    assert "stages" not in report
    assert report["cycles"] == {"mean": 3159, "min": 3159, "max": 3159}


def test_pictures_and_curve(sievit, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("sim.sieve_report.CURVE", (0.5, 1.0))
    pictures, curve, path = (tmp_path / name for name in ("a.png", "b.svg", "run.json"))
    ended = sievit(
        *("run", "-m", TOKENS, "--images", 6, "--pictures", pictures),
        *("-p", "tiny", "--predict", 2, "--curve", curve, "--json", path),
    )
    assert ended.status == 0
    assert pictures.read_bytes()[:4] == b"\x89PNG"
    assert "x 0.5" in curve.read_text() or curve.stat().st_size > 1000
    report = json.loads(path.read_text())
    validate(report, RUN)
    few, own = report["curve"]
    assert few["patches"][0] >= own["patches"][0]
    assert few["macs"] >= own["macs"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "-m", "micro", "--pictures", "x.png"), "need a model with stages"),
        (("run", "-m", TOKENS, "--curve", "x.png"), "--curve needs --preset"),
        (("simulate", "-m", "micro", "--pictures", "x.png"), "needs a model with stages"),
        (("estimate", "-m", TOKENS, "--live", "4,3"), "has 3 stages, not 2 numbers of tokens"),
        (("estimate", "-m", TOKENS, "--live", "many"), "--live must be numbers of tokens"),
        (
            ("estimate", "-m", TOKENS, "--live", "11,4,2"),
            "of 10 tokens leaves 2 to 10 of them",
        ),
        (("estimate", "-m", "micro", "--live", "5"), "has 0 stages, not 1 numbers"),
        (
            ("compile", "-m", TOKENS, "-p", "tiny,token_selector=off,cls_scores=off"),
            "needs token_selector",
        ),
    ],
)
def test_refusals(sievit, tmp_path, monkeypatch, arguments, message):
    if "--pictures" in arguments or "--curve" in arguments:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    assert message in sievit(*arguments).refused()


def test_estimate_follows_the_tokens(sievit, tmp_path):
    cycles = []
    for live in ("10,10,10", "10,6,4", "2,2,2"):
        path = tmp_path / "report.json"
        ended = sievit("estimate", "-m", TOKENS, "--live", live, "--json", path)
        assert ended.status == 0
        report = json.loads(path.read_text())
        validate(report, PREDICTION)
        assert ",".join(map(str, report["live"])) == live
        cycles.append(report["cycles"])
    assert cycles == sorted(set(cycles), reverse=True)


def test_latency(sievit, tmp_path):
    path = tmp_path / "latency.json"
    ended = sievit("latency", "-m", "micro", "--json", path)
    assert ended.status == 0
    report = json.loads(path.read_text())
    validate(report, LATENCY)
    assert report["keep"] == [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    assert f"{report['block_cycles'][0]:,}" in ended.out
