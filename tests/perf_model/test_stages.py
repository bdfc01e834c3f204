"""Predictions of models whose tokens are dropped."""

from dataclasses import replace

import numpy as np
import pytest
from jsonschema import validate

from perf_model import estimate, roofline
from perf_model.bus import Bus
from perf_model.dram import Dram
from perf_model.estimate import program_of
from perf_model.latency import latency_table
from perf_model.machine import PredictionError, predict
from perf_model.selection import selections_of
from perf_model.skip import RowSkipper
from perf_model.stage_cycles import StageCycles
from quantize.named import named_counts, named_shape
from spec.dram import DRAM_PRESETS
from spec.isa import Opcode
from spec.model_config import Stage
from spec.presets import preset
from spec.reports import LATENCY, PREDICTION
from tests.shapes import SHAPES
from tests.tiled_models import HUNDRED

DDR = DRAM_PRESETS["ddr"]
DEIT = "deit_tiny_patch16_224"
PRUNED = f"{DEIT}+3:0.70+6:0.39+9:0.21"


def staged(shape, *blocks, **fields):
    stages = tuple(Stage(block=block, rule="selector") for block in blocks)
    return replace(shape, stages=stages, **fields)


THREE = staged(SHAPES["demo"], 1, 2, 3)
TILED = staged(HUNDRED, 1)
CASES = {
    "demo": (THREE, (36, 22, 12)),
    "all stay": (THREE, (50, 50, 50)),
    "few": (THREE, (20, 5, 2)),
    "tiles": (TILED, (52,)),
    "tiles without rows": (TILED, (12,)),
}


@pytest.mark.parametrize("name", CASES)
def test_leaps_change_nothing(name, monkeypatch):
    """Rows and bursts that are leaped over, and the same ones walked cycle by cycle."""
    shape, live = CASES[name]
    program, _ = program_of(shape, preset("tiny"))
    quick = predict(program, preset("tiny"), Dram(DDR), live=live)
    monkeypatch.setattr(RowSkipper, "checkpoint", lambda self: None)
    monkeypatch.setattr(Bus, "_stream", lambda self, until: None)
    slow = predict(program, preset("tiny"), Dram(DDR), live=live)
    assert {**vars(quick), "program": 0} == {**vars(slow), "program": 0}
    assert quick.cycles == quick.array_busy_cycles + sum(quick.stalls.values())
    assert quick.stalls["unattributed"] == 0


def test_macs_are_those_of_the_rows():
    """Every instruction multiplies its live rows; without tiles nothing is skipped as a whole."""
    program, _ = program_of(THREE, preset("tiny"))
    found = predict(program, preset("tiny"), Dram(DDR), live=(36, 22, 12))
    selects = [pc for pc, op in enumerate(program) if op.opcode == Opcode.SELECT]
    normalized = [(op.pc, op.rows) for op in found.program if op.opcode == Opcode.NORMALIZE]
    for start, end, rows in zip(
        [-1, *selects], [*selects, len(program)], (50, 36, 22, 12), strict=True
    ):
        between = {count for pc, count in normalized if start < pc < end}
        assert between - {1} == {rows}
    assert found.macs >= roofline(THREE, preset("tiny"), (36, 22, 12)).macs


def test_fewer_tokens_take_fewer_cycles():
    program, _ = program_of(THREE, preset("tiny"))
    cycles = [
        predict(program, preset("tiny"), Dram(DDR), live=(count,) * 3).cycles
        for count in (2, 10, 20, 30, 40, 50)
    ]
    assert cycles == sorted(set(cycles))


@pytest.mark.parametrize(
    ("live", "message"),
    [
        ((), "the program has 3 selections: as many numbers of tokens are needed, not 0"),
        ((40, 30), "3 selections.* not 2"),
        ((51, 30, 20), "selection 0 of 50 tokens leaves 2 to 50 of them, not 51"),
        ((40, 41, 20), "selection 1 of 40 tokens leaves 2 to 40 of them, not 41"),
        ((40, 30, 1), "selection 2 of 30 tokens leaves 2 to 30 of them, not 1"),
    ],
)
def test_counts_that_no_run_has(live, message):
    program, _ = program_of(THREE, preset("tiny"))
    with pytest.raises(PredictionError, match=message):
        predict(program, preset("tiny"), Dram(DDR), live=live)


def test_what_a_selection_does():
    program, _ = program_of(THREE, preset("tiny"))
    found = list(selections_of(program, (50, 30, 30)).values())
    assert [(one.rows, one.left, one.first) for one in found] == [
        (50, 50, None),
        (50, 30, 1),
        (30, 30, 1),  # the package row of the second goes into that of the third
    ]
    found = list(selections_of(program, (40, 30, 20), (7, None, 19)).values())
    assert [one.moving for one in found] == [43, 0, 11]


def test_cycles_of_many_images():
    rng = np.random.default_rng(1)
    left = np.sort(rng.integers(2, 51, (30, 3)), axis=1)[:, ::-1]
    before = np.concatenate([np.full((30, 1), 50), left[:, :-1]], axis=1)
    first = np.where(left < before, 1 + rng.integers(0, 100, left.shape) % (left - 1), -1)
    cycles = StageCycles(THREE, preset("tiny"), DRAM_PRESETS["ideal"])
    each = cycles.each(left, first)
    for number in range(0, 30, 6):
        rows = [None if row < 0 else int(row) for row in first[number]]
        whole = cycles.exact(left[number].tolist(), rows)
        assert each[number] == pytest.approx(whole, rel=2e-3)
    assert cycles.parts.cache_info().misses <= len(np.unique(left)) + 1


def test_cycles_of_a_dense_model():
    dense = StageCycles(SHAPES["micro"], preset("tiny"), DDR)
    none = np.zeros((4, 0), np.int64)
    assert dense.each(none, none).tolist() == [dense.exact(())] * 4
    assert dense.exact(()) == estimate(SHAPES["micro"], "", preset("tiny"), "ddr", DDR)["cycles"]


def test_what_pruning_saves_of_deit():
    """HeatViT's operating point: 1.74 x fewer MACs."""
    shape, machine = named_shape(PRUNED), preset("asic512")
    live = named_counts(PRUNED)
    dense = roofline(named_shape(DEIT), machine).macs
    assert dense / roofline(shape, machine, live).macs == pytest.approx(1.744, abs=0.001)
    report = estimate(shape, PRUNED, machine, "ddr", DDR, live=live)
    validate(report, PREDICTION)
    assert report["live"] == [139, 78, 43]
    assert sum(layer["cycles"] for layer in report["layers"]) == report["cycles"]
    assert 2_474_381 / report["cycles"] > 1.6


def test_latency_table():
    report = latency_table(SHAPES["demo"], "demo", preset("tiny"), "ddr", DDR)
    validate(report, LATENCY)
    assert report["tokens"] == [50, 46, 41, 36, 31, 26, 22, 17]
    for alone, sieved, selector in zip(
        *(report[key] for key in ("block_cycles_dense", "block_cycles", "selector_cycles")),
        strict=True,
    ):
        assert sieved == pytest.approx(alone + selector, rel=0.02)
    for key in ("block_cycles", "block_cycles_dense"):
        assert report[key] == sorted(report[key], reverse=True)
    whole = report["fixed_cycles"] + SHAPES["demo"].depth * report["block_cycles_dense"][0]
    dense = estimate(SHAPES["demo"], "demo", preset("tiny"), "ddr", DDR)["cycles"]
    assert whole == pytest.approx(dense, rel=0.01)
