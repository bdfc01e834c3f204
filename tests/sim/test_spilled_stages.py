"""Models that drop tokens, with the residual stream in DRAM, on the emitted machine."""

import pytest

from compiler import compile_steps
from spec.assembler import transfer_rows
from spec.isa import Opcode, Window
from tests.random_models import pruned, random_images
from tests.sim.test_models import check
from tests.sim.test_stages import left
from tests.tiled_models import SPILLED_STAGES, expecting, machine_of, model_of


@pytest.mark.parametrize("expected", [(), (9, 5)])
def test_selections_slice_by_slice(expected):
    """Both rules, several slices; the last tile is left out of some pictures."""
    shape, rules, changes, tiles, slices = SPILLED_STAGES["two rules"]
    model = pruned(model_of(shape), list(enumerate(rules, start=1)), 0.6)
    model, config = expecting(model, expected), machine_of(changes)
    plan = compile_steps(model, config)
    assert len(plan.allocation.tiling.slices) == len(slices) > 1
    images = random_images(model.config, 3, seed=7)
    counts = left(model, images)
    assert min(min(count) for count in counts) <= model.config.tokens - tiles[-1]
    for outcome, alive in zip(check(model, config, "verilator", images), counts, strict=True):
        assert outcome.counters["dram_scratch_bytes"] == moved(plan, config, alive)


def moved(plan, config, alive):
    """Bytes from and to the SCRATCH window."""
    live, behind, total = 0, iter(alive), 0
    for op in plan.schedule.instructions:
        f = op.fields
        if op.opcode == Opcode.LIVE:
            live = f["tokens"]
        if op.opcode == Opcode.SELECT and not f["more"]:
            live = next(behind)
        if f.get("window") == Window.SCRATCH:
            total += transfer_rows(f, live) * f["words"] * config.lanes
    return total
