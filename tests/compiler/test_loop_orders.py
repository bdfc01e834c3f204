import pytest

from compiler import compile_steps
from compiler.loop_orders import loop_orders
from perf_model import traffic
from tests.tiled_models import CASES, SPILLED, machine_of, model_of


@pytest.mark.parametrize("name", [*CASES, *SPILLED])
def test_the_program_has_a_legal_order_and_the_cheapest(name):
    shape, changes, *_ = {**CASES, **SPILLED}[name]
    config = machine_of(changes)
    steps = compile_steps(model_of(shape), config)
    found = loop_orders(steps.lowered, steps.allocation)
    moved = {one.tensor: one.read for one in traffic(steps.image, config)}
    for layer in {one.layer for one in found}:
        orders = [one for one in found if one.layer == layer]
        chosen = [one for one in orders if one.chosen]
        assert len({one.order for one in orders}) == len(orders)
        assert len(chosen) == 1
        assert chosen[0].legal
        if layer.endswith(("fc1", "fc2")) or layer in ("patch_embed", "head"):
            assert chosen[0].cost == min(one.cost for one in orders if one.legal)
        if layer.endswith(("proj", "fc1")):
            of_all = moved[layer.replace("blocks.0", "blocks.*")]
            assert chosen[0].weight_bytes * steps.lowered.model.config.depth == of_all


def test_every_order_of_three_loops():
    shape, changes, *_ = SPILLED["in chunks"]
    steps = compile_steps(model_of(shape), machine_of(changes))
    orders = loop_orders(steps.lowered, steps.allocation)
    assert len([one for one in orders if one.layer == "blocks.0.mlp.fc2"]) == 6
