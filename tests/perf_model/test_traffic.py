import dataclasses

import pytest

from compiler import compile
from perf_model import traffic
from spec.image import ALIGNMENT_BYTES
from spec.isa import Window
from tests.grouped import GROUPED
from tests.grouped import model_of as grouped_model
from tests.tiled_models import CASES, SPILLED, machine_of, model_of

ONE_GROUP = dataclasses.replace(GROUPED, head_groups=1)


@pytest.mark.parametrize("name", [*CASES, *SPILLED])
def test_traffic_covers_the_windows(name):
    """Everything in DRAM is read or written; what is moved twice is counted twice."""
    shape, changes, *_ = {**CASES, **SPILLED}[name]
    config = machine_of(changes)
    image = compile(model_of(shape), config)
    moved = traffic(image, config)
    for window, size in (
        (Window.WEIGHTS, image.weights.size),
        (Window.INPUT, image.input_bytes),
        (Window.SCRATCH, image.scratch_bytes),
        (Window.RESULT, image.result_bytes),
    ):
        mine = [one for one in moved if one.window == window]
        slack = ALIGNMENT_BYTES * len(image.program)
        assert size - slack <= sum(one.unique for one in mine) <= size
        assert all(one.read + one.written >= one.unique for one in mine)
    assert not any(one.written for one in moved if one.window in (Window.WEIGHTS, Window.INPUT))
    fc1 = next(one for one in moved if one.tensor == "blocks.*.mlp.fc1")
    tiles = len(SPILLED[name][2]) if name in SPILLED else len(CASES[name][3])
    assert fc1.read == max(tiles, 1) * fc1.unique


def test_spilled_rows_are_moved_once_a_block():
    shape, changes, *_ = SPILLED["five tiles"]
    config, model = machine_of(changes), model_of(shape)
    moved = {one.tensor: one for one in traffic(compile(model, config), config)}
    depth = model.config.depth
    assert moved["context"].written == moved["context"].read == depth * moved["context"].unique
    assert moved["tokens"].written == moved["tokens"].read == depth * moved["tokens"].unique
    assert moved["residual"].written == moved["residual"].read == depth * moved["residual"].unique


def test_weights_of_all_head_groups_count():
    image, one = (compile(grouped_model("odd"), config) for config in (GROUPED, ONE_GROUP))
    sizes = [
        sum(each.read for each in traffic(image, config) if each.window == Window.WEIGHTS)
        for image, config in ((image, GROUPED), (one, ONE_GROUP))
    ]
    assert sizes[0] == sizes[1]
