"""Skipped zeros of fully connected layers and thresholds on the emitted machine."""

from dataclasses import replace

import pytest

from sim.machine import Options
from spec.presets import preset
from tests.random_models import SMALL, random_images, random_model
from tests.shapes import model_of
from tests.sieved_models import with_thresholds
from tests.sim.test_models import check

RELU = replace(SMALL, activation="relu")
WITHOUT = preset("tiny,zero_skip=off,attention_masks=off,thresholds=off")


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_zeros_of_relu(simulator):
    """The hidden rows' zeros cost no step: fewer cycles than on a machine that takes them all."""
    model = random_model(RELU, 3)
    images = random_images(RELU, 1, seed=5)
    (sparse,) = check(model, preset("tiny"), simulator, images)
    assert sparse.counters["macs_skipped_zero"] > 0
    if simulator == "verilator":
        (dense,) = check(model, WITHOUT, simulator, images)
        assert dense.counters["macs_skipped_zero"] == 0
        assert sparse.counters["array_busy_cycles"] < dense.counters["array_busy_cycles"]


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_thresholds_of_every_tensor(simulator):
    model = with_thresholds(random_model(SMALL, 3))
    images = random_images(SMALL, 2 if simulator == "verilator" else 1, seed=5)
    for outcome in check(model, preset("tiny"), simulator, images):
        assert outcome.counters["values_cleared"] > 0
        assert outcome.counters["macs_skipped_zero"] > 0


def test_many_zeros():
    """High thresholds: whole rows and words without a scalar, seen as uneven banks."""
    model = with_thresholds(random_model(RELU, 3), (40, 40, 20, 200, 90, 60, 300, 80, 300))
    images = random_images(RELU, 2, seed=5)
    for outcome in check(model, preset("tiny"), "verilator", images):
        assert outcome.counters["stall_bank_imbalance_cycles"] > 0
        assert outcome.counters["idle_banks"] > 0


def test_stalls_on_the_bus_change_no_result():
    model = with_thresholds(model_of("uneven_heads"))
    images = random_images(model.config, 2, seed=5)
    check(model, preset("tiny"), "verilator", images, Options(stall=128, latency=7, bandwidth=5))


def test_two_head_groups():
    """They share the scalars of a search."""
    model = with_thresholds(model_of("odd"))
    images = random_images(model.config, 2, seed=5)
    machine = preset("tiny,head_groups=2,attention_masks=off")
    for outcome in check(model, machine, "verilator", images):
        assert outcome.counters["macs_skipped_zero"] > 0
