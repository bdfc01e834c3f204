"""Predicted cycles, stalls, bytes and times of writes against the counters of the Verilog."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from cli.options import load_dataset, load_model
from compiler import compile_steps
from golden_model.machine import machine as golden_machine
from golden_model.sieve import sieve
from perf_model.dram import Dram
from perf_model.machine import predict
from perf_model.work import needs_work
from quantize.stages import force_keep, with_stages
from sim.image_cycles import ImageCycles
from sim.machine import Options, Simulation
from spec.assembler import Instruction, encode
from spec.dram import DRAM_PRESETS
from spec.isa import SIEVE, Opcode
from spec.model_file import ModelConfig, Stage
from spec.pixels import batch_of, patches_of
from spec.presets import preset
from spec.registers import STALLS
from spec.reports import DRAM_KINDS
from spec.semaphores import Queue
from tests.joined import execute, instructions_of, three_parts
from tests.random_models import random_images, random_model
from tests.shapes import SHAPES, model_of
from tests.sieved_models import masked, with_thresholds
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
    ("micro", "small"),
    ("demo-small", "small"),
    ("micro", "asic512"),
    ("demo", "asic512"),
    ("wide", "asic512"),
    ("hundred", "asic512"),
]
"""Models of 2 to 101 tokens; `hundred` is compiled in tiles."""
LONG = [("spilling", "tiny"), ("deit_tiny", "asic512")]
LARGE = {
    "hundred": HUNDRED,
    "spilling": SPILLING,
    "deit_tiny": DEIT_TINY,
    "deit_two": replace(DEIT_TINY, depth=2),
}
TRACED = ("load_tokens", "fully_connected", "attention", "normalize")


def model_named(name):
    if name in LARGE:
        return random_model(LARGE[name], outliers=False, images=2)
    return model_of(name) if name in SHAPES and name not in ("demo", "micro") else load_model(name)


def work_of(compiled, config, patches):
    """What the sieves of a program leave for an image."""
    if not needs_work(compiled.schedule.instructions):
        return None
    return golden_machine(compiled.image, config, patches).execution.work


def outcomes_of(name, machine, trace=False):
    """The compiled program, what sieves leave, and what the Verilog does with each memory."""
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
    work = work_of(compiled, config, inputs[0])
    return compiled, config, work, dict(zip(DRAM_PRESETS, found, strict=True))


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


def staged(model, rules, shares, fields=None):
    """The model with random stages, and an image of which they leave these shares."""
    model = replace(model, config=replace(model.config, **(fields or {})))
    images = random_images(model.config, 1)
    stages = [Stage(block=number + 1, rule=rule) for number, rule in enumerate(rules)]
    return force_keep(with_stages(model, stages, images), images[0], shares), images


@pytest.mark.parametrize(("name", "machine", "rules", "shares", "fields"), STAGED)
def test_prediction_with_stages(name, machine, rules, shares, fields):
    model, images = staged(model_named(name), rules, shares, fields)
    found, _ = check_image(name, model, images, preset(machine))
    assert found[-1] < model.config.tokens


RELU, MASKS, LIMITS, STAGES = "relu", "masks", "thresholds", "stages"
SIEVED = [
    ("micro", "tiny", (RELU,)),
    ("micro", "tiny", (MASKS,)),
    ("micro", "tiny", (LIMITS,)),
    ("wide", "tiny", (MASKS, LIMITS)),
    ("odd", "tiny", (MASKS,)),
    ("demo", "tiny", (RELU,)),
    ("demo", "tiny", (MASKS,)),
    ("demo", "tiny", (MASKS, STAGES)),
    ("demo", "tiny", (RELU, MASKS, LIMITS, STAGES)),
    ("demo", "asic512", (RELU, MASKS, LIMITS, STAGES)),
]
"""`odd` has ReLU of its own."""


def sieved(name, sieves):
    """A random model with sieves, and an image."""
    model = model_named(name)
    if RELU in sieves:
        model = random_model(replace(model.config, activation="relu"), outliers=False)
    images = random_images(model.config, 1)
    if STAGES in sieves:
        model = with_stages(model, [Stage(block=n, rule=SELECTOR) for n in (1, 2, 3)], images)
    if MASKS in sieves:
        model = masked(model, 0.1)
    if LIMITS in sieves:
        model = with_thresholds(model)
    if STAGES in sieves:
        model = force_keep(model, images[0], (0.7, 0.4, 0.2))
    return model, images


@pytest.mark.parametrize(("name", "machine", "sieves"), SIEVED)
def test_prediction_with_sieves(name, machine, sieves):
    model, images = sieved(name, sieves)
    _, found = check_image(name, model, images, preset(machine))
    assert (found.skipped["masked"] > 0) == (MASKS in sieves)
    assert (found.index_words > 0) == (MASKS in sieves)
    assert found.idle_banks > 0
    if {RELU, LIMITS} & set(sieves) or name == "odd":
        assert found.skipped["zero"] > 0


@pytest.mark.regress
@pytest.mark.parametrize("sieves", [(MASKS,), (RELU, MASKS, LIMITS)])
def test_prediction_with_sieves_at_real_scale(sieves):
    model, images = sieved("deit_two", sieves)
    check_image("deit_two", model, images, preset("asic512"))


def check_image(name, model, images, config):
    """Compare with both memories; the tokens behind each stage and the last prediction."""
    compiled = compile_steps(model, config)
    inputs = list(patches_of(batch_of(images, model.config), model.config))
    left = sieve(model, images)
    first = [None if row < 0 else int(row) for row in left.first[0]]
    live = left.left[0].tolist()
    work = work_of(compiled, config, inputs[0])
    found = None
    for dram, timing in DRAM_PRESETS.items():
        options = Options(latency=timing.latency, bandwidth=timing.bandwidth, trace=False)
        (outcome,) = Simulation.build(config, "verilator").run(compiled.image, inputs, options)
        found = predict(
            compiled.schedule.instructions,
            config,
            Dram(timing),
            live=live,
            first_dropped=first,
            work=work,
        )
        log.info("%s %s, %s, %s: %d", name, live, config.name, dram, outcome.cycles)
        compare(found, outcome.counters)
    return live, found


def test_settings_take_a_cycle():
    """SIEVE again and again between the array's instructions, one or two at a time."""
    compiled, config, _, _ = outcomes_of("micro", "tiny")
    setting = Instruction(opcode=Opcode.SIEVE, fields={**dict.fromkeys(SIEVE.members, 0)})
    program = []
    for number, op in enumerate(compiled.schedule.instructions):
        program += [setting] * (number % 3 * (op.queue == Queue.ARRAY))
        program.append(op)
    words = np.stack([np.frombuffer(encode(op), np.uint8) for op in program])
    image = replace(compiled.image, program=words, names=("",) * len(program))
    model = model_named("micro")
    picture = batch_of(random_images(model.config, 1), model.config)
    for timing in DRAM_PRESETS.values():
        options = Options(latency=timing.latency, bandwidth=timing.bandwidth, trace=False)
        (outcome,) = Simulation.build(config, "verilator").run(
            image, list(patches_of(picture, model.config)), options
        )
        compare(predict(program, config, Dram(timing)), outcome.counters)


@pytest.mark.parametrize("preset_name", ["tiny", "asic512"])
def test_prediction_of_efforts(preset_name):
    """Three parts of other models, of which a picture takes one, two or all."""
    config, skipped, names = (
        preset(preset_name),
        (2, 1, 200),
        ("micro-tokens", "micro", "micro-masks"),
    )
    _, image, images, pictures = three_parts(config, skipped, names)
    models = [load_model(name) for name in names]
    simulation = Simulation.build(config, "verilator")
    runs = [(dram, taken, each) for dram in DRAM_PRESETS for taken, each in enumerate(pictures, 1)]
    for dram, taken, patches in runs:
        timing = DRAM_PRESETS[dram]
        options = Options(latency=timing.latency, bandwidth=timing.bandwidth, trace=False)
        (outcome,) = simulation.run(image, [patches], options)
        execution = execute(image, config, patches)
        assert execution.efforts == taken
        live, first = [], []
        for model in models[:taken]:
            left = sieve(model, images[taken - 1 : taken])
            live += left.left[0].tolist()
            first += [None if row < 0 else int(row) for row in left.first[0]]
        found = predict(
            instructions_of(image),
            config,
            Dram(timing),
            live=live,
            first_dropped=first,
            work=execution.work,
            efforts=taken,
        )
        log.info("%s, %s, %d parts: %d", config.name, dram, taken, outcome.cycles)
        compare(found, outcome.counters)


@pytest.mark.parametrize("name", ["micro~skip1@2", "micro-tokens~skip1@2"])
def test_prediction_of_compiled_efforts(name):
    """A picture that ends at the gate and one that does not, as sievit predicts images."""
    config, model = preset("tiny"), load_model(name)
    images = load_dataset("sample", "test", model.config).images[:200]
    found = sieve(model, images)
    picked = [int(np.flatnonzero(found.effort == effort)[0]) for effort in (0, 1)]
    inputs = patches_of(batch_of(images, model.config), model.config)
    for timing in DRAM_PRESETS.values():
        cycles = ImageCycles(model, config, timing)
        simulation = Simulation.build(config, "verilator")
        options = Options(latency=timing.latency, bandwidth=timing.bandwidth, trace=False)
        for index, taken in zip(picked, (1, 2), strict=True):
            (outcome,) = simulation.run(cycles.image, [inputs[index]], options)
            left, first = (each[index, :taken] for each in (found.every_left, found.every_first))
            predicted = cycles.predict(inputs[index], left, first)
            log.info("%s, %d efforts: %d", name, taken, outcome.cycles)
            compare(predicted, outcome.counters)


def check(name, machine):
    compiled, config, work, outcomes = outcomes_of(name, machine)
    instructions = compiled.schedule.instructions
    for dram, outcome in outcomes.items():
        counters = outcome.counters
        found = predict(instructions, config, Dram(DRAM_PRESETS[dram]), work=work)
        log.info("%s, %s, %s: %d, %d", name, machine, dram, found.cycles, counters["cycles"])
        compare(found, counters)


def compare(found, counters):
    assert found.dram_bytes == {kind: counters[f"dram_{kind}_bytes"] for kind in DRAM_KINDS}
    assert found.array_busy_cycles == counters["array_busy_cycles"]
    assert found.macs == counters["macs_done"]
    for cause, count in found.skipped.items():
        assert count == counters[f"macs_skipped_{cause}"]
    assert found.idle_banks == counters["idle_banks"]
    assert found.index_words == counters["index_words_read"]
    assert found.cycles == counters["cycles"]
    assert found.stalls == {cause: counters[f"stall_{cause}_cycles"] for cause in STALLS}
    assert found.efforts == counters["efforts"]
    assert found.attentions_skipped == counters["attentions_skipped"]


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
    compiled, config, work, outcomes = outcomes_of(name, "tiny", trace=True)
    instructions = compiled.schedule.instructions
    found = predict(instructions, config, Dram(DRAM_PRESETS["ideal"]), work=work)
    seen = outcomes["ideal"].last_write
    traced = [pc for pc, op in enumerate(instructions) if op.opcode.name.lower() in TRACED]
    assert set(seen) == set(traced)
    assert Opcode.ATTENTION in {instructions[pc].opcode for pc in traced}
    assert len({seen[pc] - found.ends[pc] for pc in traced}) == 1
