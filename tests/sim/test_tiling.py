"""Models in tiles on the emitted machine."""

import dataclasses

import pytest

from compiler import compile_steps
from perf_model import roofline, traffic
from spec.isa import Window
from spec.presets import preset
from tests.random_models import random_images, random_model
from tests.sim.test_models import check
from tests.tiled_models import DEIT_BASE, DEIT_SMALL, DEIT_TINY, HUNDRED, SPILLING, VIT_SMALL_14


def test_a_model_in_tiles_on_tiny():
    model, config = random_model(HUNDRED, outliers=False, images=2), preset("tiny")
    tiling = compile_steps(model, config).allocation.tiling
    assert tiling.patches
    assert tiling.tokens
    check(model, config, "verilator", random_images(HUNDRED, 2, seed=100))


def test_a_spilling_model_in_chunks_on_tiny():
    model, config = random_model(SPILLING, outliers=False, images=2), preset("tiny")
    plan = compile_steps(model, config)
    assert plan.allocation.tiling.spilled
    assert any(op.fields.get("accumulate") for op in plan.schedule.instructions)
    outcome = check(model, config, "verilator", random_images(SPILLING, 1, seed=100))[0]
    assert outcome.counters["dram_scratch_bytes"] >= plan.image.scratch_bytes
    moved = traffic(plan.image, config)
    for window in (Window.WEIGHTS, Window.INPUT, Window.SCRATCH, Window.RESULT):
        counted = outcome.counters[f"dram_{window.name.lower()}_bytes"]
        assert counted == sum(one.read + one.written for one in moved if one.window == window)


@pytest.mark.regress
@pytest.mark.parametrize(
    ("shape", "ratio", "utilization"),
    [
        pytest.param(DEIT_TINY, 1.02, 0.98, id="DeiT-T"),
        pytest.param(DEIT_SMALL, 1.03, 0.97, id="DeiT-S"),
        pytest.param(dataclasses.replace(VIT_SMALL_14, depth=3), 1.05, 0.95, id="ViT-S/14"),
        pytest.param(dataclasses.replace(DEIT_BASE, depth=1), 1.20, 0.83, id="DeiT-B"),
    ],
)
def test_real_models_are_close_to_the_roofline(shape, ratio, utilization):
    model, config = random_model(shape, outliers=False, images=2), preset("asic512")
    outcome = check(model, config, "verilator", random_images(shape, 1, seed=100))[0]
    assert outcome.cycles <= ratio * roofline(shape, config).cycles
    assert outcome.counters["macs_done"] >= utilization * config.macs * outcome.cycles
