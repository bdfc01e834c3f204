"""Estimates: what adds up, what must not matter, and the report."""

import dataclasses

import pytest
from jsonschema import validate

from compiler import CompileError, compile
from perf_model import estimate, traffic
from perf_model.array import Array
from perf_model.bus import Bus
from perf_model.dram import Dram
from perf_model.estimate import program_of
from perf_model.machine import predict
from perf_model.plot import PlotError, plot
from perf_model.skip import RowSkipper
from spec.dram import DRAM_PRESETS, DramTiming
from spec.isa import Window
from spec.presets import preset
from spec.reports import PREDICTION
from tests.shapes import SHAPES, model_of
from tests.tiled_models import CASES, DEIT_TINY, HUNDRED, SPILLED, machine_of
from tests.tiled_models import SHAPES as TILED

DDR = DRAM_PRESETS["ddr"]


def same(one, other):
    return {**vars(one), "program": 0} == {**vars(other), "program": 0}


@pytest.mark.parametrize("machine", ["tiny", "asic512"])
@pytest.mark.parametrize("name", ["odd", "wide", "five_tokens"])
def test_report(name, machine):
    config = preset(machine)
    report = estimate(SHAPES[name], name, config, "ddr", DDR)
    validate(report, PREDICTION)
    cycles = report["cycles"]
    assert report["array_busy_cycles"] + sum(report["stalls"].values()) == cycles
    assert sum(layer["cycles"] for layer in report["layers"]) == cycles
    assert sum(layer["macs"] for layer in report["layers"]) == report["macs_done"]
    by_layer = sum(layer["dram_bytes"] for layer in report["layers"])
    assert by_layer == sum(report["dram_bytes"].values()) - report["dram_bytes"]["program"]
    assert report["stalls"]["unattributed"] == 0
    assert cycles > report["roofline_cycles"]


def test_bytes_are_those_of_the_image():
    """Weights do not matter: a model of zeros moves what the real one moves."""
    config, model = preset("tiny"), model_of("wide")
    report = estimate(model.config, "wide", config, "ddr", DDR)
    image = compile(model, config)
    moved = traffic(image, config)
    for window in (Window.WEIGHTS, Window.INPUT, Window.RESULT):
        expected = sum(one.read + one.written for one in moved if one.window == window)
        assert report["dram_bytes"][window.name.lower()] == expected
    assert report["instructions"] == len(image.program)


PROGRAMS = {
    "demo": lambda: (program_of(SHAPES["demo"], preset("asic512"))[0], preset("asic512")),
    "tiles": lambda: (program_of(HUNDRED, preset("tiny"))[0], preset("tiny")),
    **{
        f"{kind} {name}": lambda cases=cases, name=name: (
            program_of(TILED[cases[name][0]], machine_of(cases[name][1]))[0],
            machine_of(cases[name][1]),
        )
        for kind, cases in (("tiled", CASES), ("spilled", SPILLED))
        for name in ("three tiles", "one slot of everything")
    },
    "chunks": lambda: (
        program_of(TILED[SPILLED["in chunks"][0]], machine_of(SPILLED["in chunks"][1]))[0],
        machine_of(SPILLED["in chunks"][1]),
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_leaps_change_nothing(name, monkeypatch):
    """Rows and bursts that are leaped over, and the same ones walked cycle by cycle."""
    instructions, config = PROGRAMS[name]()
    for timing in (*DRAM_PRESETS.values(), DramTiming(latency=5, bandwidth=4)):
        quick = predict(instructions, config, Dram(timing))
        with monkeypatch.context() as patch:
            patch.setattr(RowSkipper, "checkpoint", lambda self: None)
            patch.setattr(Bus, "_stream", lambda self, until: None)
            slow = predict(instructions, config, Dram(timing))
        assert same(quick, slow)
        assert quick.cycles == quick.array_busy_cycles + sum(quick.stalls.values())


DEEP = {
    "demo": (dataclasses.replace(SHAPES["demo"], depth=12), preset("ulx3s")),
    "tiles": (dataclasses.replace(HUNDRED, depth=7), preset("asic512")),
    "spilled": (
        dataclasses.replace(TILED[SPILLED["three tiles"][0]], depth=9),
        machine_of(SPILLED["three tiles"][1]),
    ),
}


@pytest.mark.parametrize("dram", DRAM_PRESETS)
@pytest.mark.parametrize("name", DEEP)
def test_blocks_that_repeat_stand_for_others(name, dram):
    model, config = DEEP[name]
    few = estimate(model, name, config, dram, DRAM_PRESETS[dram])
    every = estimate(model, name, config, dram, DRAM_PRESETS[dram], all_blocks=True)
    validate(few, PREDICTION)
    for key in ("instructions", "macs_done", "dram_bytes", "array_busy_cycles"):
        assert few[key] == every[key]
    # Each inferred block may be off by the share that `estimate` allows two blocks to differ.
    assert few["cycles"] == pytest.approx(every["cycles"], rel=1e-3)
    assert [layer["name"] for layer in few["layers"]] == [
        layer["name"] for layer in every["layers"]
    ]
    assert sum(layer["cycles"] for layer in few["layers"]) == few["cycles"]
    assert every["blocks_inferred"] == 0
    if few["blocks_inferred"]:
        assert few["blocks_inferred"] == model.depth - 4


def test_deit_tiny():
    """Measured in the Verilog: 2,471,822 and 2,474,381 cycles (`tests/sim/test_prediction.py`)."""
    config = preset("asic512")
    cycles = {
        dram: estimate(DEIT_TINY, "deit_tiny", config, dram, DRAM_PRESETS[dram])["cycles"]
        for dram in ("ideal", "ddr")
    }
    assert cycles == {"ideal": 2_471_822, "ddr": 2_474_381}


def test_rows_are_leaped_over():
    instructions, _ = program_of(SHAPES["demo"], preset("tiny"))
    walked = []
    cycle = Array._cycle
    Array._cycle = lambda self: (walked.append(0), cycle(self))[1]
    try:
        found = predict(instructions, preset("tiny"), Dram(DRAM_PRESETS["ideal"]))
    finally:
        Array._cycle = cycle
    assert len(walked) < found.cycles / 3


def test_slower_memory_takes_longer():
    instructions, _ = program_of(SHAPES["micro"], preset("tiny"))
    cycles = [
        predict(
            instructions, preset("tiny"), Dram(DramTiming(latency=latency, bandwidth=10))
        ).cycles
        for latency in (0, 50, 200, 1000)
    ]
    assert cycles == sorted(set(cycles))


def test_what_does_not_fit_is_refused():
    with pytest.raises(CompileError, match=r"tokens"):
        estimate(dataclasses.replace(HUNDRED, image_size=200), "large", preset("tiny"), "ddr", DDR)


def test_picture(tmp_path):
    pytest.importorskip("matplotlib")
    report = estimate(SHAPES["micro"], "micro", preset("tiny"), "ddr", DDR)
    plot(report, tmp_path / "cycles.svg")
    assert "blocks.1.mlp.fc2" in (tmp_path / "cycles.svg").read_text()
    with pytest.raises(PlotError, match=r"cannot draw '.exe'; there are .*svg"):
        plot(report, tmp_path / "cycles.exe")
