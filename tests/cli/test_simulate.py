"""`sievit simulate`: the report's contract, flipped bits, and machines that stop."""

import json
from dataclasses import replace

import numpy as np
import pytest
from jsonschema import validate

from compiler import compile
from sim import flip
from spec import image as image_format
from spec import model_file
from spec.isa import INSTRUCTION_BYTES
from spec.presets import preset
from spec.reports import SIMULATE
from tests.cli.files import MICRO

CONFIG = preset("tiny")
ON_MICRO = ("simulate", "--model", "micro", "--preset", "tiny")


def added(values):
    """Sum of what the entries of a report hold under one key."""
    first = values[0]
    if isinstance(first, dict):
        return {name: sum(value[name] for value in values) for name in first}
    return sum(values, type(first)())


def check_report(report, images):
    """The schema, totals that are sums, and cycles that are all accounted for."""
    validate(report, SIMULATE)
    entries = report["per_image"]
    assert report["images"] == len(entries) == images
    assert len(report["predictions"]) == images
    derived = ("roofline_ratio", "utilization", "simulated_cycles_per_s")
    for key in SIMULATE["properties"]:
        if key in ("per_image", *derived):
            continue
        values = [entry[key] for entry in entries]
        if isinstance(values[0], str):
            assert set(values) == {report[key]}
        elif key == "wall_s":
            assert report[key] == pytest.approx(sum(values))
        else:
            assert report[key] == added(values), key
    for entry in (report, *entries):
        assert entry["array_busy_cycles"] + sum(entry["stalls"].values()) == entry["cycles"]
        assert entry["stalls"]["unattributed"] == 0
        share = entry["macs_done"] / (CONFIG.macs * entry["cycles"])
        assert entry["utilization"] == share
        ratio = entry["cycles"] / entry["roofline_cycles"]
        assert entry["roofline_ratio"] == ratio
        assert entry["roofline_ratio"] >= 1


def test_under_verilator(sievit, tmp_path):
    path = tmp_path / "report.json"
    ended = sievit(*ON_MICRO, "--images", 3, "--layers", "--json", path)
    assert ended.status == 0, ended.err
    report = json.loads(path.read_text())
    check_report(report, images=3)
    assert report["differing_elements"] == 0
    assert report["tensors_compared"] == 75
    for number, predicted in enumerate(report["predictions"]):
        assert f"image {number}: predicted {predicted} (" in ended.out
    assert "blocks.1.mlp.fc2" in ended.out
    again = sievit("report", path)
    assert again.status == 0
    assert f"{report['cycles']:,}" in again.out


def test_under_icarus(sievit, tmp_path):
    path = tmp_path / "report.json"
    ended = sievit(*ON_MICRO, "--simulator", "icarus", "--json", path)
    assert ended.status == 0, ended.err
    report = json.loads(path.read_text())
    check_report(report, images=1)
    assert report["simulator"] == "icarus"
    assert report["differing_elements"] == 0


@pytest.mark.parametrize(
    ("bit", "tensor"),
    [(0, "patch_embed"), (17, "patch_embed"), (1300, None), (2500, None), (30_000, None)],
)
def test_a_flipped_bit_is_found(sievit, tmp_path, bit, tensor):
    path = tmp_path / "report.json"
    ended = sievit(*ON_MICRO, "--flip-bit", bit, "--json", path)
    assert ended.status == 1
    lines = ended.err.splitlines()
    assert [line for line in lines if not line.endswith(" ...")] == lines[-1:]
    report = json.loads(path.read_text())
    check_report(report, images=1)
    assert report["differing_elements"] > 0
    found = [line for line in ended.out.splitlines() if "elements differ" in line]
    first = found[0].split(": ")[1]
    assert tensor in (None, first)
    assert lines[-1] == (
        f"failed: {report['differing_elements']:,} elements differ; "
        f"first tensor: {first} of image 0"
    )


def test_a_bit_whose_flip_does_not_show_is_passed_over(sievit, monkeypatch):
    """The machine's answer is replaced for one bit: as if its inputs were all 0."""
    real = flip.flip_weight_bit
    monkeypatch.setattr(
        flip, "flip_weight_bit", lambda image, *rest: image if rest[1] == 5 else real(image, *rest)
    )
    ended = sievit(*ON_MICRO, "--flip-bit", 5)
    assert ended.status == 1
    assert "flipped bit 6 of the weights (5 changes no tensor of these images)" in ended.out


def test_a_flip_that_never_shows_fails_too(sievit, monkeypatch):
    monkeypatch.setattr(flip, "TRIES", 3)
    monkeypatch.setattr(flip, "flip_weight_bit", lambda image, config, bit: image)
    ended = sievit(*ON_MICRO, "--flip-bit", 5)
    assert ended.status == 1
    assert "no tensor differs although bit 5 was flipped" in ended.err


def test_flipped_bits_are_single_bits_of_weights():
    image = compile(model_file.load(MICRO), CONFIG)
    for bit, mask in ((0, 0x80), (123, 0x80), (30_000, 0x02)):
        flipped = flip.flip_weight_bit(image, CONFIG, bit).weights
        places = np.flatnonzero(flipped != image.weights)
        assert len(places) == 1
        assert flipped[places[0]] ^ image.weights[places[0]] == mask
        assert image.weights[places[0]] != 0


def test_a_compiled_image_runs(sievit, tmp_path):
    path = tmp_path / "micro.image"
    assert sievit("compile", "--model", "micro", "--out", path).status == 0
    ended = sievit(*ON_MICRO, "--image", path)
    assert ended.status == 0, ended.err


def test_a_machine_that_stops_is_a_failed_check(sievit, tmp_path):
    """An undefined opcode passes the digests of its own file and stops the machine."""
    image = compile(model_file.load(MICRO), CONFIG)
    program = image.program.copy()
    program[9] = np.frombuffer(bytes([0xFF]) + bytes(INSTRUCTION_BYTES - 1), np.uint8)
    path = tmp_path / "wrong.image"
    image_format.save(replace(image, program=program), path)
    ended = sievit(*ON_MICRO, "--image", path)
    assert ended.status == 1
    line = ended.err.splitlines()[-1]
    assert line.startswith("failed: image 0: the machine stopped with error OPCODE at instruct")
    assert "instruction 9 (" in line
