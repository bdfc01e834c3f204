"""A machine of three head groups in simulation: every tensor, every write, every cycle."""

import dataclasses

import pytest

from compiler import compile
from sim.flip import _weights
from tests.grouped import GROUPED, MODELS, model_of
from tests.random_models import SMALL, pruned, random_images, random_model
from tests.sim.test_models import check


@pytest.mark.parametrize("name", MODELS)
def test_models_on_three_groups(name):
    model = model_of(name)
    check(model, GROUPED, "verilator", random_images(model.config, 2, 5))


def test_three_groups_under_icarus():
    model = model_of("uneven_heads")
    check(model, GROUPED, "icarus", random_images(model.config, 1, 5))


@pytest.mark.parametrize("packages", ["merged", "each"])
@pytest.mark.parametrize("heads", [2, 4])
def test_selections_on_three_groups(heads, packages):
    """A group that no head is left for has no scores; another one has those of two heads."""
    shape = dataclasses.replace(SMALL, heads=heads, head_dim=16 // heads, depth=3)
    rules = [(1, "cls_attention"), (2, "cls_attention")]
    model = pruned(random_model(shape, 0), rules, 0.3, packages=packages)
    images = random_images(shape, 2, 5)
    check(model, GROUPED, "verilator", images)


def test_bits_to_flip_are_those_of_all_groups():
    image = compile(model_of("uneven_heads"), GROUPED)
    places = _weights(image, GROUPED)
    one = dataclasses.replace(GROUPED, head_groups=1)
    assert len(places) == len(_weights(compile(model_of("uneven_heads"), one), one))
    assert len(set(places)) == len(places)
