import dataclasses

import pytest

from spec.presets import preset
from tests.golden_model.test_machine import check_model
from tests.random_models import pruned, random_model
from tests.tiled_models import (
    CASES,
    DEIT_TINY,
    EXPECTED,
    SPILLED,
    SPILLED_STAGES,
    machine_of,
    model_of,
    selecting,
)


@pytest.mark.parametrize("name", CASES)
def test_vit_is_machine_in_tiles(name):
    shape, changes, *_ = CASES[name]
    check_model(model_of(shape), machine_of(changes), seed=3)


@pytest.mark.parametrize("name", SPILLED)
def test_vit_is_machine_spilled(name):
    shape, changes, *_ = SPILLED[name]
    check_model(model_of(shape), machine_of(changes), seed=3)


@pytest.mark.parametrize("name", SPILLED_STAGES)
def test_vit_is_machine_spilled_with_selections(name):
    shape, rules, changes, *_ = SPILLED_STAGES[name]
    check_model(selecting(shape, *rules), machine_of(changes), seed=3)


@pytest.mark.parametrize("expected", EXPECTED)
@pytest.mark.parametrize("name", ["two rules", "one slice", "mean"])
def test_vit_is_machine_spilled_whatever_is_expected(name, expected):
    shape, rules, changes, *_ = SPILLED_STAGES[name]
    model = selecting(shape, *rules, expected=EXPECTED[expected])
    check_model(model, machine_of(changes), seed=3)


@pytest.mark.parametrize("packages", ["merged", "each"])
@pytest.mark.parametrize("package", ["weighted", "mean", "none"])
@pytest.mark.parametrize("share", [0, 0.3, 0.8, 1])
def test_vit_is_machine_spilled_for_any_share(share, package, packages):
    """All tokens stay; some tiles have few rows or none; all go."""
    shape, rules, changes, *_ = SPILLED_STAGES["two rules"]
    stages = list(enumerate(rules, start=1))
    model = pruned(model_of(shape), stages, share, package=package, packages=packages)
    check_model(model, machine_of(changes), seed=3)


@pytest.mark.parametrize(
    "depth", [2, pytest.param(DEIT_TINY.depth, marks=pytest.mark.regress, id="whole")]
)
def test_deit_tiny_on_asic512(depth):
    shape = dataclasses.replace(DEIT_TINY, depth=depth)
    check_model(random_model(shape, outliers=False, images=2), preset("asic512"), seed=3)
