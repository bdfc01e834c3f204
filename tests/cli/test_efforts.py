"""Models of several efforts on the command line: what is printed, and the JSON."""

import json

import pytest
from jsonschema import validate

from spec import image as image_format
from spec.presets import preset
from spec.reports import RUN, SIEVES, SIMULATE

MODEL = "micro~skip1@2"


def report_of(sievit, path, *arguments):
    ended = sievit(*arguments, "--json", path)
    assert ended.status == 0, ended
    return ended, json.loads(path.read_text())


def test_run_says_how_many_images_each_effort_ends(sievit, tmp_path):
    ended, report = report_of(sievit, tmp_path / "x.json", "run", "-m", MODEL)
    validate(report, RUN)
    low, high = report["efforts"]
    assert (low["skipped"], low["threshold"], low["threshold_bits"]) == ([1], 2048, 2.0)
    assert (high["skipped"], high["threshold"]) == ([], 0)
    assert 0.2 < low["share"] < 0.8
    assert low["share"] + high["share"] == pytest.approx(1)
    assert report["efforts_mean"] == pytest.approx(low["share"] + 2 * high["share"])
    assert f"{low['share']:.2%}" in ended.out


def test_run_with_stages(sievit, tmp_path):
    _, report = report_of(
        sievit, tmp_path / "x.json", "run", "-m", "micro-tokens~skip1@2.5", "--images", 40
    )
    validate(report, RUN)
    assert len(report["efforts"]) == 2
    assert report["macs"]["max"] > report["macs_dense"] > report["macs"]["min"]


def test_compile_says_what_efforts_share(sievit, tmp_path):
    out = tmp_path / "x.image"
    ended, report = report_of(
        sievit, tmp_path / "x.json", "compile", "-m", MODEL, "--show", "--orders", "--out", out
    )
    low, high = report["efforts"]
    assert (low["skipped"], high["skipped"]) == ([1], [])
    assert low["instructions"] + high["instructions"] == report["instructions"]
    assert report["shared_bytes"] == low["weights_bytes"]
    assert report["weights_bytes"] == high["weights_bytes"]
    assert f"{report['shared_bytes']:,} bytes are shared by efforts" in ended.out
    assert "GATE" in ended.out
    assert len(image_format.load(out, preset("tiny")).program) == report["instructions"]


def test_estimate_of_one_effort(sievit, tmp_path):
    cycles = [
        report_of(sievit, tmp_path / "x.json", "estimate", "-m", *arguments)[1]["cycles"]
        for arguments in (("micro",), (MODEL, "--effort", 1), (MODEL, "--effort", 0))
    ]
    assert cycles[0] == cycles[1] > cycles[2]


def test_profile_counts_the_zeros_of_all_efforts(sievit, tmp_path):
    path = tmp_path / "x.json"
    ended = sievit("profile", "-m", MODEL, "--tau", "0,0.1", "--images", 20, "--json", path)
    assert ended.status == 0, ended
    assert "0.1" in ended.out


def test_sieves_have_the_efforts(sievit, tmp_path):
    _, report = report_of(
        sievit, tmp_path / "x.json", "sieves", "-m", MODEL, "-p", "tiny", "--images", 12
    )
    validate(report, SIEVES)
    dense, efforts = report["variants"]
    assert (dense["name"], efforts["name"]) == ("dense", "efforts")
    assert efforts["cycles"]["min"] < dense["cycles"]["mean"] < efforts["cycles"]["max"]


def test_run_predicts_the_cycles_of_each_image(sievit, tmp_path):
    _, report = report_of(
        sievit,
        tmp_path / "x.json",
        *("run", "-m", MODEL, "-p", "tiny", "--images", 30, "--predict", 0),
    )
    validate(report, RUN)
    low = report["efforts"][0]["share"]
    cycles = report["cycles"]
    mean = low * cycles["min"] + (1 - low) * cycles["max"]
    assert 0 < low < 1
    assert cycles["mean"] == pytest.approx(mean)


def test_simulate_says_how_many_each_image_takes(sievit, tmp_path):
    ended, report = report_of(sievit, tmp_path / "x.json", "simulate", "-m", MODEL, "--images", 3)
    validate(report, SIMULATE)
    assert set(report["efforts"]) == {1, 2}
    assert report["differing_elements"] == 0
    for number, taken in enumerate(report["efforts"]):
        entry = report["per_image"][number]
        assert entry["efforts"] == [taken]
        assert entry["counters"]["efforts"] == taken
        assert entry["counters"]["attentions_skipped"] == 1
        assert f"image {number}: predicted" in ended.out
        assert entry["roofline_ratio"] > 1
    assert "efforts taken 1" in ended.out


def test_a_flipped_bit_is_found(sievit):
    ended = sievit("simulate", "-m", MODEL, "--images", 1, "--flip-bit", 3)
    assert ended.status == 1
    assert "efforts.0." in ended.err
