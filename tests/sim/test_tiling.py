"""Models in tiles on the emitted machine."""

import pytest

from compiler import compile_steps
from perf_model import roofline
from spec.presets import preset
from tests.random_models import random_images, random_model
from tests.sim.test_models import check
from tests.tiled_models import DEIT_TINY, HUNDRED, SPILLING


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


@pytest.mark.regress
def test_deit_tiny_is_close_to_the_roofline():
    model, config = random_model(DEIT_TINY, outliers=False, images=2), preset("asic512")
    outcome = check(model, config, "verilator", random_images(DEIT_TINY, 1, seed=100))[0]
    assert outcome.cycles <= 1.02 * roofline(DEIT_TINY, config).cycles
    assert outcome.counters["macs_done"] >= 0.98 * config.macs * outcome.cycles
