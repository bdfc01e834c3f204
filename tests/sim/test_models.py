"""Whole models on the emitted machine: every tensor, every write, every cycle accounted for."""

import numpy as np
import pytest

from cli.options import load_dataset, load_model
from compiler import compile
from golden_model.expected import expected_tensors
from golden_model.machine import machine
from golden_model.trace import assemble_tensors
from perf_model import roofline
from sim.machine import Options, Simulation
from sim.trace import compare_tensors, compare_writes
from spec.pixels import patches_of
from spec.presets import preset
from spec.registers import STALLS, Status
from tests.random_models import random_images
from tests.shapes import SHAPES, model_of

SLOW_DRAM = Options(latency=64, bandwidth=9)
UNREACHABLE = {"bank_imbalance", "unattributed"}
"""No source of the dense machine leaves banks unequal; unattributed must always be 0."""


def check(model, config, simulator, images, options=SLOW_DRAM):
    """Simulate, and hold everything against the golden network and the golden machine."""
    image = compile(model, config)
    inputs = list(patches_of(images, model.config))
    outcomes = Simulation.build(config, simulator).run(image, inputs, options)
    assert len(outcomes) == len(images)
    for number, outcome in enumerate(outcomes):
        assert outcome.status == Status.DONE
        assert outcome.violations == 0
        logits, expected = expected_tensors(model, images[number])
        found = compare_tensors(assemble_tensors(image, outcome.writes), expected)
        assert [str(one) for one in found if one.differing] == []
        golden = machine(image, config, inputs[number])
        assert compare_writes(outcome.writes, golden.execution.writes, image) == []
        np.testing.assert_array_equal(outcome.logits, logits)
        counters = outcome.counters
        stalls = {cause: counters[f"stall_{cause}_cycles"] for cause in STALLS}
        assert counters["array_busy_cycles"] + sum(stalls.values()) == counters["cycles"]
        assert stalls["unattributed"] == 0
        assert counters["instructions"] == len(image.program)
        # Padding between heads is multiplied too, by weights that are 0.
        padded = config.lanes % model.config.head_dim and model.config.head_dim % config.lanes
        total = check_work(counters, golden.execution, config)
        if model.config.stages:
            continue
        assert total >= roofline(model.config, config).macs
        needed = roofline(model.config, config).macs + copied_for_the_mean(model.config, config)
        assert padded or total == needed
    return outcomes


def check_work(counters, execution, config):
    """Hold the counters of work against the golden machine; return all multiplications."""
    parts = {
        "macs_done": sum(execution.macs.values()),
        "macs_skipped_zero": sum(execution.zeros.values()),
        "macs_skipped_masked": sum(execution.masked.values()),
    }
    assert {name: counters[name] for name in parts} == parts
    assert counters["values_cleared"] == sum(work.cleared for work in execution.work.values())
    rows = counters["row_words_read"] + counters["idle_banks"]
    assert rows <= config.head_groups * config.banks * counters["array_busy_cycles"]
    return sum(parts.values())


def copied_for_the_mean(shape, config):
    """The mean of the patches is an attention over copies of them; the roofline has neither."""
    if shape.pooling != "mean":
        return 0
    columns = min(config.lanes, shape.embed_dim)
    return shape.patches * shape.embed_dim * (columns + 2)


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_micro_on_tiny(simulator):
    model = load_model("micro")
    images = load_dataset("sample", "test", model.config).first(2).images
    outcomes = check(model, preset("tiny"), simulator, images)
    provoked = {cause for cause in STALLS if outcomes[0].counters[f"stall_{cause}_cycles"]}
    assert provoked == set(STALLS) - UNREACHABLE


def test_stalls_on_the_bus_change_no_result():
    model = load_model("micro")
    images = load_dataset("sample", "test", model.config).first(2).images
    check(model, preset("tiny"), "verilator", images, Options(stall=128, latency=7, bandwidth=5))


def test_tracing_takes_no_cycle():
    model, config = load_model("micro"), preset("tiny")
    images = load_dataset("sample", "test", model.config).first(1).images
    inputs = list(patches_of(images, model.config))
    image, simulation = compile(model, config), Simulation.build(config, "verilator")
    traced, silent = (
        simulation.run(image, inputs, Options(latency=64, trace=trace))[0]
        for trace in (True, False)
    )
    assert traced.counters == silent.counters


@pytest.mark.parametrize("name", SHAPES)
def test_any_shape_on_tiny(name):
    """Shapes that do not divide by banks or lanes, ReLU, few tokens, wide and narrow heads."""
    model = model_of(name)
    check(model, preset("tiny"), "verilator", random_images(model.config, 2, 5))


@pytest.mark.parametrize(("simulator", "count"), [("verilator", 3), ("icarus", 1)])
def test_demo_on_tiny(simulator, count):
    model = load_model("demo")
    images = load_dataset("sample", "test", model.config).first(count).images
    check(model, preset("tiny"), simulator, images)


@pytest.mark.parametrize("name", ["ulx3s", "asic512"])
def test_demo_on_larger_machines(name):
    model = load_model("demo")
    images = load_dataset("sample", "test", model.config).first(3).images
    check(model, preset(name), "verilator", images)


@pytest.mark.parametrize(
    ("name", "simulator", "count"), [("demo-small", "verilator", 2), ("micro", "icarus", 1)]
)
def test_on_the_small_machine(name, simulator, count):
    model = load_model(name)
    images = load_dataset("sample", "test", model.config).first(count).images
    check(model, preset("small"), simulator, images)
