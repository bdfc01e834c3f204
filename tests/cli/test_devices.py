"""`run --device` and `selftest`: what they print, write, refuse and find."""

import json

import pytest
from jsonschema import validate

from golden_model.machine import MachineError
from host import golden
from host.golden import GoldenDevice
from spec.registers import Error
from spec.reports import RUN_ON_DEVICE, SELFTEST
from tests.host.boards import PtyBoard, twin

RUN = ("run", "--model", "micro", "--preset", "tiny")
SELF = ("selftest", "--model", "micro", "--preset", "tiny", "--images", "2")


@pytest.mark.parametrize("device", ["golden", "twin", "serial", "rtl"])
def test_run(sievit, tmp_path, device):
    path = tmp_path / "report.json"
    with PtyBoard(twin()) as board:
        name = f"serial:{board.port}@115200" if device == "serial" else device
        ended = sievit(*RUN, "--device", name, "--images", 6, "--json", path)
    assert (ended.status, ended.err) == (0, "")
    report = json.loads(path.read_text())
    validate(report, RUN_ON_DEVICE)
    assert (report["images"], report["differing_images"]) == (6, 0)
    assert report["top1"] == 1
    assert "6 of 6" in ended.out
    assert (report["cycles"] is not None) == (device == "rtl")
    assert report["clock_hz"] == (50_000_000 if device in ("twin", "serial") else None)


@pytest.mark.parametrize("device", ["golden", "twin", "serial", "rtl"])
def test_selftest(sievit, tmp_path, device):
    path = tmp_path / "report.json"
    with PtyBoard(twin()) as board:
        name = f"serial:{board.port}" if device == "serial" else device
        ended = sievit(*SELF, "--device", name, "--json", path)
    assert ended.status == 0
    report = json.loads(path.read_text())
    validate(report, SELFTEST)
    board = device in ("twin", "serial")
    assert [one["ok"] for one in report["checks"]].count(True) == (11 if board else 5)
    assert ("not there: for boards" in ended.out) != board


def wrong(self, image, patches):
    answer = right(self, image, patches)
    answer.logits[0] ^= 1
    return answer


right = GoldenDevice._one


def test_a_wrong_logit_fails(sievit, tmp_path, monkeypatch):
    monkeypatch.setattr(GoldenDevice, "_one", wrong)
    path = tmp_path / "report.json"
    ended = sievit(*RUN, "--device", "golden", "--images", 3, "--json", path)
    assert ended.status == 1
    assert ended.err == ("failed: 3 of 3 answers differ from the golden model's; first: image 0\n")
    report = json.loads(path.read_text())
    validate(report, RUN_ON_DEVICE)
    assert report["first_differing"] == 0
    ended = sievit(*SELF, "--device", "golden", "--json", path)
    assert ended.status == 1
    assert "failed: 2 of 5 checks; first: answers: 2 logits differ" in ended.err
    validate(json.loads(path.read_text()), SELFTEST)


def test_a_machine_that_stops(sievit, monkeypatch):
    def stop(*_):
        raise MachineError("pc 3: no", Error.ROW_ADDRESS, 3)

    monkeypatch.setattr(golden, "machine", stop)
    ended = sievit(*RUN, "--device", "golden", "--images", 1)
    assert ended.status == 1
    assert ended.err.startswith("failed: the machine stopped at instruction 3 (")
    assert ended.err.endswith("with ROW_ADDRESS: a row-memory word that is not there\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("run", "--device", "golden"), "--device needs --preset"),
        ((*RUN, "--device", "golden", "--curve", "x.png"), "leave out --device"),
        ((*RUN, "--device", "abacus"), "must be golden, twin, rtl, rtl:icarus or serial:PORT"),
        ((*RUN, "--device", "golden:x"), "must be golden, twin"),
        ((*RUN, "--device", "serial:"), "must be golden, twin"),
        ((*RUN, "--device", "rtl:spice"), "--simulator must be one of verilator, icarus"),
        ((*RUN, "--device", "serial:/dev/none@fast"), "'fast' is no speed in baud"),
        ((*RUN, "--device", "serial:/dev/none"), "No such file or directory"),
        ((*SELF, "--device", "serial:/dev/none"), "cannot open serial port /dev/none"),
    ],
)
def test_refusals(sievit, arguments, text):
    assert text in sievit(*arguments).refused()


def test_a_board_with_another_machine(sievit):
    with PtyBoard(twin()) as board:
        device = f"serial:{board.port}"
        arguments = ("run", "--model", "micro", "--preset", "tiny,queue_depth=3")
        refused = sievit(*arguments, "--device", device).refused()
        assert "compile the model for the board's preset" in refused
        refused = sievit("run", "--model", "demo", "--preset", "tiny", "--device", device).refused()
        assert "the board has 16,384: a smaller model or a larger board is needed" in refused
