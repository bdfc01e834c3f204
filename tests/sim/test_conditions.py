"""The whole machine, bit by bit, on slow, narrow and stuttering buses, and stopped half-way."""

import pytest

from compiler import compile
from golden_model.machine import machine
from golden_model.trace import assemble_tensors
from sim.machine import Options, Simulation
from sim.trace import compare_tensors, compare_writes
from spec.pixels import patches_of
from spec.presets import preset
from spec.registers import STALLS, Error, Status
from tests.random_models import CONFIGS, random_images, random_model

CONDITIONS = (
    Options(),
    Options(latency=64),
    Options(latency=200, bandwidth=3),
    Options(bandwidth=1),
    Options(stall=60),
    Options(stall=200, latency=9),
)


def check(outcome, image, config, patches):
    """Every write, tensor and logit equals the golden machine's; the counters add up."""
    assert (outcome.ended, outcome.status) == ("interrupt", Status.DONE), outcome.error
    assert outcome.error == Error.NONE
    golden = machine(image, config, patches)
    assert compare_writes(outcome.writes, golden.execution.writes, image) == []
    tensors = compare_tensors(assemble_tensors(image, outcome.writes), golden.tensors)
    assert len(tensors) == len(image.tensors) > 0
    assert [str(one) for one in tensors if one.differing] == []
    assert outcome.logits.tolist() == golden.logits.tolist()
    assert outcome.violations == 0
    assert (outcome.status_after_clear, outcome.outstanding) == (Status(0), 0)
    counters = outcome.counters
    stalls = sum(counters[f"stall_{cause}_cycles"] for cause in STALLS)
    assert counters["array_busy_cycles"] + stalls == counters["cycles"]
    assert counters["stall_unattributed_cycles"] == 0
    assert counters["macs_done"] == sum(golden.execution.macs.values())


def run(preset_name, model, simulator, options, seed=0):
    config = preset(preset_name)
    image = compile(model, config)
    patches = list(patches_of(random_images(model.config, len(options), seed), model.config))
    outcomes = Simulation.build(config, simulator).run(image, patches, options)
    assert len(outcomes) == len(options)
    return config, image, patches, outcomes


@pytest.mark.parametrize("name", ["small", "odd"])
def test_the_bus_changes_the_time_and_no_bit(name):
    config, image, patches, outcomes = run(
        "tiny", random_model(CONFIGS[name]), "verilator", CONDITIONS
    )
    for outcome, one in zip(outcomes, patches, strict=True):
        check(outcome, image, config, one)
    cycles = [outcome.cycles for outcome in outcomes]
    assert min(cycles) == cycles[0] < cycles[1] < cycles[2]


def test_a_stopped_program_leaves_no_trace_in_the_next():
    stops = [Options(clear_after_cycles=count, latency=30) for count in (1, 40, 333, 1200)]
    options = [one for stop in stops for one in (stop, Options())]
    config, image, patches, outcomes = run(
        "tiny", random_model(CONFIGS["small"]), "verilator", options
    )
    for outcome, one, patch in zip(outcomes, options, patches, strict=True):
        if one.clear_after_cycles:
            assert outcome.ended == "stopped"
            assert (outcome.status_after_clear, outcome.outstanding) == (Status(0), 0)
        else:
            check(outcome, image, config, patch)


@pytest.mark.regress
@pytest.mark.parametrize(("seed", "outliers"), [(0, True), (1, False), (3, True)])
@pytest.mark.parametrize(
    ("preset_name", "name"),
    [
        (preset_name, name)
        for preset_name in ("tiny", "ulx3s", "small", "asic512")
        for name in CONFIGS
        if CONFIGS[name].head_dim <= preset(preset_name).max_head_dim
    ],
)
def test_random_models_on_every_machine(preset_name, name, seed, outliers):
    model = random_model(CONFIGS[name], seed, outliers)
    config, image, patches, outcomes = run(preset_name, model, "verilator", CONDITIONS, seed)
    for outcome, one in zip(outcomes, patches, strict=True):
        check(outcome, image, config, one)


@pytest.mark.regress
def test_icarus_sees_the_same_cycles():
    model = random_model(CONFIGS["odd"])
    options = CONDITIONS[1:5:3]
    sides = [run("tiny", model, simulator, options) for simulator in ("icarus", "verilator")]
    for config, image, patches, outcomes in sides:
        for outcome, one in zip(outcomes, patches, strict=True):
            check(outcome, image, config, one)
    cycles = [[outcome.counters for outcome in side[3]] for side in sides]
    assert cycles[0] == cycles[1]
