"""The bundled models with sieves on the emitted machine, on real images."""

import pytest

from cli.options import load_dataset, load_model
from spec.presets import preset
from tests.sim.test_models import check

MODELS = {
    "micro-masks": ("macs_skipped_masked", "index_words_read"),
    "micro-relu": ("macs_skipped_zero",),
    "micro-all": ("macs_skipped_masked", "macs_skipped_zero", "values_cleared"),
}
"""Counters that cannot be 0."""


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
@pytest.mark.parametrize("name", MODELS)
def test_micro_on_tiny(name, simulator):
    model = load_model(name)
    images = load_dataset("sample", "test", model.config).first(
        3 if simulator == "verilator" else 1
    )
    for outcome in check(model, preset("tiny"), simulator, images.images):
        assert all(outcome.counters[counter] for counter in MODELS[name])


@pytest.mark.parametrize("name", ["demo-masks", "demo-relu", "demo-all"])
def test_demo_on_tiny(name):
    model = load_model(name)
    images = load_dataset("sample", "test", model.config).first(1).images
    check(model, preset("tiny"), "verilator", images)
