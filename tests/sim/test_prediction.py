"""Predicted cycles, stalls, bytes and times of writes against the counters of the Verilog."""

import logging
from dataclasses import replace

import pytest

from cli.options import load_model
from compiler import compile_steps
from golden_model.sieve import sieve
from perf_model.dram import Dram
from perf_model.machine import predict
from quantize.stages import force_keep, with_stages
from sim.machine import Options, Simulation
from spec.dram import DRAM_PRESETS
from spec.isa import Opcode
from spec.model_file import ModelConfig, Stage
from spec.pixels import batch_of, patches_of
from spec.presets import preset
from spec.registers import STALLS
from spec.reports import DRAM_KINDS
from tests.random_models import random_images, random_model
from tests.shapes import SHAPES, model_of
from tests.tiled_models import DEIT_TINY, HUNDRED, SPILLING

log = logging.getLogger(__name__)
"""Each point's predicted and measured cycles: `pytest --log-cli-level INFO`."""
POINTS = [
    ("micro", "tiny"),
    ("demo", "tiny"),
    ("two_tokens", "tiny"),
    ("five_tokens", "tiny"),
    ("uneven_heads", "tiny"),
    ("odd", "tiny"),
    ("wide", "tiny"),
    ("distilled", "tiny"),
    ("mean", "tiny"),
    ("hundred", "tiny"),
    ("micro", "ulx3s"),
    ("demo", "ulx3s"),
    ("odd", "ulx3s"),
    ("wide", "ulx3s"),
    ("micro", "asic512"),
    ("demo", "asic512"),
    ("wide", "asic512"),
    ("hundred", "asic512"),
]
"""Models of 2 to 101 tokens; `hundred` is compiled in tiles."""
LONG = [("spilling", "tiny"), ("deit_tiny", "asic512")]
LARGE = {"hundred": HUNDRED, "spilling": SPILLING, "deit_tiny": DEIT_TINY}
TRACED = ("load_tokens", "fully_connected", "attention", "normalize")


def model_named(name):
    if name in LARGE:
        return random_model(LARGE[name], outliers=False, images=2)
    return model_of(name) if name in SHAPES and name not in ("demo", "micro") else load_model(name)


def outcomes_of(name, machine, trace=False):
    """The compiled program, and what the Verilog does with each memory."""
    model, config = model_named(name), preset(machine)
    assert isinstance(model.config, ModelConfig)
    compiled = compile_steps(model, config)
    picture = batch_of(random_images(model.config, 1), model.config)
    inputs = [patches_of(picture, model.config)[0]] * len(DRAM_PRESETS)
    options = [
        Options(latency=timing.latency, bandwidth=timing.bandwidth, trace=trace)
        for timing in DRAM_PRESETS.values()
    ]
    found = Simulation.build(config, "verilator").run(compiled.image, inputs, options)
    return compiled, config, dict(zip(DRAM_PRESETS, found, strict=True))


SELECTOR, CLS = "selector", "cls_attention"
STAGED = [
    ("micro", "tiny", (SELECTOR,), (0.5,), {}),
    ("micro", "tiny", (CLS,), (0.5,), {"package": "none"}),
    ("demo", "tiny", (SELECTOR, SELECTOR, SELECTOR), (0.7, 0.4, 0.2), {}),
    ("demo", "tiny", (CLS, SELECTOR, CLS), (0.7, 0.4, 0.2), {"packages": "each"}),
    ("hundred", "tiny", (SELECTOR,), (0.5,), {}),
    ("hundred", "tiny", (SELECTOR,), (0.1,), {"package": "mean"}),
    ("demo", "asic512", (SELECTOR, SELECTOR, SELECTOR), (0.7, 0.4, 0.2), {}),
]
"""Stages before blocks 1, 2 ..., and the shares of the patches that they leave; in `hundred`, some
tiles have no rows then."""


def staged(name, rules, shares, fields):
    """A model with random stages, and an image of which they leave these shares."""
    dense = model_named(name)
    dense = replace(dense, config=replace(dense.config, **fields))
    images = random_images(dense.config, 1)
    stages = [Stage(block=number + 1, rule=rule) for number, rule in enumerate(rules)]
    return force_keep(with_stages(dense, stages, images), images[0], shares), images


@pytest.mark.parametrize(("name", "machine", "rules", "shares", "fields"), STAGED)
def test_prediction_with_stages(name, machine, rules, shares, fields):
    model, images = staged(name, rules, shares, fields)
    config = preset(machine)
    compiled = compile_steps(model, config)
    inputs = list(patches_of(batch_of(images, model.config), model.config))
    left = sieve(model, images)
    first = [None if row < 0 else int(row) for row in left.first[0]]
    live = left.left[0].tolist()
    assert live[-1] < model.config.tokens
    for dram, timing in DRAM_PRESETS.items():
        options = Options(latency=timing.latency, bandwidth=timing.bandwidth, trace=False)
        (outcome,) = Simulation.build(config, "verilator").run(compiled.image, inputs, options)
        found = predict(
            compiled.schedule.instructions, config, Dram(timing), live=live, first_dropped=first
        )
        log.info("%s %s, %s, %s: %d", name, shares, machine, dram, outcome.cycles)
        compare(found, outcome.counters)


def check(name, machine):
    compiled, config, outcomes = outcomes_of(name, machine)
    instructions = compiled.schedule.instructions
    for dram, outcome in outcomes.items():
        counters = outcome.counters
        found = predict(instructions, config, Dram(DRAM_PRESETS[dram]))
        log.info("%s, %s, %s: %d, %d", name, machine, dram, found.cycles, counters["cycles"])
        compare(found, counters)


def compare(found, counters):
    assert found.dram_bytes == {kind: counters[f"dram_{kind}_bytes"] for kind in DRAM_KINDS}
    assert found.array_busy_cycles == counters["array_busy_cycles"]
    assert found.macs == counters["macs_done"]
    assert found.cycles == counters["cycles"]
    assert found.stalls == {cause: counters[f"stall_{cause}_cycles"] for cause in STALLS}


@pytest.mark.parametrize(("name", "machine"), POINTS)
def test_prediction(name, machine):
    check(name, machine)


@pytest.mark.regress
@pytest.mark.parametrize(("name", "machine"), LONG)
def test_prediction_of_large_models(name, machine):
    check(name, machine)


@pytest.mark.parametrize("name", ["micro", "odd", "uneven_heads"])
def test_every_instruction_ends_when_predicted(name):
    """The last write of each instruction, to the cycle; only the start of the clock may differ."""
    compiled, config, outcomes = outcomes_of(name, "tiny", trace=True)
    instructions = compiled.schedule.instructions
    found = predict(instructions, config, Dram(DRAM_PRESETS["ideal"]))
    seen = outcomes["ideal"].last_write
    traced = [pc for pc, op in enumerate(instructions) if op.opcode.name.lower() in TRACED]
    assert set(seen) == set(traced)
    assert Opcode.ATTENTION in {instructions[pc].opcode for pc in traced}
    assert len({seen[pc] - found.ends[pc] for pc in traced}) == 1
