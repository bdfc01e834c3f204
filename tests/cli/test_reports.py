"""`doctor`, `run`, `compile`, `emit` and `report`: what they print, and the JSON they write."""

import hashlib
import json
from importlib.metadata import PackageNotFoundError

import pytest
from jsonschema import validate

from cli import doctor
from spec import image as image_format
from spec.presets import preset
from spec.registers import STALLS
from spec.reports import DRAM_KINDS, RUN, SIMULATE


def simulated(**changes):
    """A report as `simulate --json` writes it, of two images."""
    entry = {
        "model": "micro",
        "preset": "tiny",
        "simulator": "verilator",
        "images": 1,
        "tensors_compared": 25,
        "differing_elements": 0,
        "predictions": [3],
        "cycles": 1000,
        "array_busy_cycles": 400,
        "stalls": {**dict.fromkeys(STALLS, 0), STALLS[0]: 600},
        "macs_done": 12_000,
        "macs_skipped": {"masked": 100, "zero": 0},
        "attention_core_cycles": 200,
        "dram_bytes": dict.fromkeys(DRAM_KINDS, 100),
        "roofline_cycles": 500,
        "roofline_ratio": 2.0,
        "utilization": 0.375,
        "wall_s": 0.5,
        "simulated_cycles_per_s": 2000.0,
    }
    return {**entry, "per_image": [entry], **changes}


def saved(path, **changes):
    path.write_text(json.dumps(simulated(**changes)))
    return path


def test_run_on_the_sample(sievit, tmp_path):
    path = tmp_path / "run.json"
    ended = sievit("run", "--model", "micro", "--json", path)
    assert ended.status == 0
    report = json.loads(path.read_text())
    validate(report, RUN)
    assert report["images"] >= 256
    assert report["top1_integer"] > 0.7
    assert report["agreement"] > 0.9
    assert f"{report['top1_integer']:.2%}" in ended.out


def test_run_on_the_first_images(sievit, tmp_path):
    path = tmp_path / "run.json"
    assert sievit("run", "--model", "demo", "--images", 5, "--json", path).status == 0
    assert json.loads(path.read_text())["images"] == 5


def test_compile_shows_and_writes(sievit, tmp_path):
    out, path = tmp_path / "micro.image", tmp_path / "compile.json"
    ended = sievit("compile", "--model", "micro", "--show", "--out", out, "--json", path)
    assert ended.status == 0
    for word in ("blocks.1.attn", "FULLY_CONNECTED", "HALT"):
        assert word.lower() in ended.out.lower()
    image, report = image_format.load(out, preset("tiny")), json.loads(path.read_text())
    assert report["instructions"] == len(image.program)
    assert report["model_digest"] == image.model_digest


def test_emit_names_what_it_wrote(sievit, tmp_path):
    out, path = tmp_path / "machine.v", tmp_path / "emit.json"
    ended = sievit("emit", "--preset", "tiny", "--out", out, "--json", path)
    assert ended.status == 0
    assert "4 x 8 MACs" in ended.out
    report = json.loads(path.read_text())
    assert report["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert f"module {report['top']}(" in out.read_text()
    assert sorted(tmp_path.iterdir()) == [path, out]


def test_report_of_one_file(sievit, tmp_path):
    ended = sievit("report", saved(tmp_path / "one.json"))
    assert ended.status == 0
    assert ended.err == ""
    for text in ("micro on tiny, verilator", "37.5%", "60.00%", "100.00%"):
        assert text in ended.out


def test_report_side_by_side(sievit, tmp_path):
    first = saved(tmp_path / "first.json")
    second = saved(tmp_path / "second.json", preset="asic512", cycles=2000)
    ended = sievit("report", first, second)
    assert ended.status == 0
    for text in ("tiny", "asic512", "1,000", "2,000"):
        assert text in ended.out


def test_report_of_a_failed_simulation(sievit, tmp_path):
    good, bad = saved(tmp_path / "good.json"), saved(tmp_path / "bad.json", differing_elements=7)
    for files in ((bad,), (good, bad)):
        ended = sievit("report", *files)
        assert ended.status == 1
        assert ended.err == f"failed: elements differ from the golden model in {bad}\n"


CORRUPT = {
    "empty": ("", "not JSON"),
    "truncated": (json.dumps(simulated())[:-40], "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
    "list": ("[]", "not a report of `simulate --json`: report: [] is not of type 'object'"),
    "lacks": ("{}", "is a required property"),
    "text": (json.dumps(simulated(cycles="many")), "cycles: 'many' is not of type 'integer'"),
    "stalls": (json.dumps(simulated(stalls={"lunch": 1})), "stalls: "),
    "no images": (json.dumps(simulated(images=0)), "a report of no images"),
}


@pytest.mark.parametrize(("text", "message"), CORRUPT.values(), ids=CORRUPT)
def test_corrupt_reports(sievit, tmp_path, text, message):
    path = tmp_path / "report.json"
    path.write_text(text)
    assert message in sievit("report", path).refused()


def test_the_test_report_is_one(tmp_path):
    validate(simulated(), SIMULATE)


def test_a_binary_file_is_no_report(sievit, tmp_path):
    path = tmp_path / "report.json"
    path.write_bytes(b"\xff\xfe\x00")
    assert "not JSON" in sievit("report", path).refused()


def test_doctor_when_all_is_there(sievit, tmp_path):
    path = tmp_path / "doctor.json"
    ended = sievit("doctor", "--json", path)
    assert ended.status == 0
    report = json.loads(path.read_text())
    assert report["core_complete"] is True
    numpy = next(item for item in report["components"] if item["component"] == "numpy")
    assert numpy["status"].startswith("ok, ")


def without(*names):
    """Pretend that packages are not installed."""

    def version(name):
        if name in names:
            raise PackageNotFoundError(name)
        return "1.2.3.post4"

    return version


def test_doctor_says_how_to_install_what_is_missing(sievit, monkeypatch):
    monkeypatch.setattr(doctor, "version", without("torch", "cocotb"))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None if name == "iverilog" else name)
    ended = sievit("doctor")
    assert ended.status == 0
    assert ended.out.count("missing") >= 3
    for line in (
        "pip install -e '.[sim]'",
        "pip install -e '.[train]'",
        "apt-get install iverilog",
    ):
        assert f"    {line}\n" in ended.out
    assert "ok, 1.2.3" in ended.out


def test_doctor_fails_when_the_core_is_incomplete(sievit, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "version", without("amaranth"))
    path = tmp_path / "doctor.json"
    ended = sievit("doctor", "--json", path)
    assert ended.status == 1
    assert "    pip install -e .\n" in ended.out
    assert json.loads(path.read_text())["core_complete"] is False
