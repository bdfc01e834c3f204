"""Programs of several parts on the emitted machine: every write, every tensor, every counter."""

from dataclasses import replace

import numpy as np
import pytest

from compiler import compile
from golden_model.machine import machine
from golden_model.trace import assemble_tensors
from perf_model.dram import Dram
from perf_model.machine import predict
from rtl_gen.effort_gate.entropy_gate import EntropyGate
from sim.bench import SIMULATORS
from sim.machine import Options, Simulation
from sim.trace import compare_writes
from spec import model_file
from spec.dram import DramTiming
from spec.formats import GATE
from spec.isa import Window
from spec.pixels import patches_of
from spec.presets import preset
from spec.registers import STALLS, Error, Status
from tests.joined import execute, gate_of, instructions_of, joined, three_parts, with_program
from tests.random_models import random_images

TINY = preset("tiny")
SKIPPED = (4, 1, 250)
OPTIONS = (Options(), Options(latency=64, bandwidth=9), Options(stall=100, latency=5))


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_as_many_parts_as_a_picture_needs(simulator):
    parts, image, _, pictures = three_parts(TINY, SKIPPED)
    runs = [(taken, options) for options in OPTIONS for taken in (1, 3, 2)]
    outcomes = Simulation.build(TINY, simulator).run(
        image, [pictures[taken - 1] for taken, _ in runs], [options for _, options in runs]
    )
    assert len(outcomes) == len(runs)
    for (taken, _), outcome in zip(runs, outcomes, strict=True):
        check(parts, image, pictures[taken - 1], taken, outcome)


def check(parts, image, patches, taken, outcome):
    """Hold a run against the golden machine and against each part alone."""
    assert outcome.status == Status.DONE
    assert outcome.violations == 0
    execution = execute(image, TINY, patches)
    assert execution.efforts == taken
    assert compare_writes(outcome.writes, execution.writes, image) == []
    first = 0
    for part in parts[:taken]:
        last = first + len(part.program)
        own = {pc - first: each for pc, each in outcome.writes.items() if first <= pc < last}
        alone = machine(part, TINY, patches)
        for name, tensor in assemble_tensors(part, own).items():
            np.testing.assert_array_equal(tensor, alone.tensors[name], err_msg=name)
        first = last
    np.testing.assert_array_equal(outcome.logits, alone.logits)
    assert outcome.result == execution.windows[Window.RESULT]
    counters = outcome.counters
    assert counters["efforts"] == taken
    assert counters["attentions_skipped"] == sum(SKIPPED[:taken])
    assert counters["instructions"] == first
    assert counters["macs_done"] == sum(execution.macs.values())
    assert counters["macs_skipped_zero"] == sum(execution.zeros.values())
    assert counters["macs_skipped_masked"] == sum(execution.masked.values())
    assert counters["values_cleared"] == sum(work.cleared for work in execution.work.values())
    stalls = sum(counters[f"stall_{cause}_cycles"] for cause in STALLS)
    assert counters["array_busy_cycles"] + stalls == counters["cycles"]
    assert counters["stall_unattributed_cycles"] == 0


def gates(classes, threshold=0, count=1):
    """So many GATEs for equal logits, and then HALT; the part of each one counts 3."""
    base = compile(model_file.load("models/micro.safetensors"), TINY)
    fields = {"token": 0, "classes": classes, "threshold": threshold, "skipped": 3}
    gate = gate_of(base, 0)
    one = replace(gate, fields={**gate.fields, **fields})
    return with_program(base, [*[one] * count, *instructions_of(base)[-1:]])


INPUT = np.zeros((9, 16), np.int8)


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("classes", [1, 10, 1000])
def test_gates_that_follow_each_other(classes, count):
    """Instructions are on their way when the machine goes on; the cycles are as predicted."""
    thresholds = [0, GATE.max_threshold] if classes > 1 else [GATE.max_threshold]
    for threshold, latency in [(each, latency) for each in thresholds for latency in (1, 64, 500)]:
        image = gates(classes, threshold, count)
        options = Options(latency=latency, trace=False)
        (outcome,) = Simulation.build(TINY, "verilator").run(image, [INPUT], options)
        counters, taken = outcome.counters, 1 if threshold else count + 1
        assert outcome.status == Status.DONE
        program, dram = instructions_of(image), Dram(DramTiming(latency=latency, bandwidth=10))
        found = predict(program, TINY, dram, efforts=taken)
        assert counters["cycles"] == found.cycles
        assert counters["dram_program_bytes"] == found.dram_bytes["program"]
        assert counters["efforts"] == taken
        assert counters["attentions_skipped"] == 3 * min(taken, count)
        assert found.stalls == {cause: counters[f"stall_{cause}_cycles"] for cause in STALLS}


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_the_gate_is_a_sign_of_life_and_can_be_stopped(simulator):
    """It takes longer than the watchdog waits; CLEAR during it leaves nothing behind."""
    image = gates(1000, count=2)
    patient = Options(watchdog_cycles=100, trace=False)
    stopped = replace(patient, clear_after_cycles=1000)
    simulation = Simulation.build(TINY, simulator)
    first, second, third = simulation.run(image, [INPUT] * 3, [patient, stopped, patient])
    assert (first.status, second.ended, third.status) == (Status.DONE, "stopped", Status.DONE)
    assert first.cycles > 2 * EntropyGate.cycles(1000) == 2 * 2069
    assert (second.counters["efforts"], third.counters) == (0, first.counters)


@pytest.mark.parametrize(
    ("fault", "error"), [("slverr", Error.BUS_READ), ("silent", Error.WATCHDOG)]
)
def test_the_program_is_not_there_behind_a_gate(fault, error):
    """An instruction behind the GATE is refused while it works, or never comes."""
    image = gates(1000, count=40)
    bad = {"fault": fault, "fault_window": "PROGRAM", "fault_first": 320, "fault_last": 351}
    options = Options(watchdog_cycles=3000, max_cycles=200_000, trace=False, **bad)
    (outcome,) = Simulation.build(TINY, "verilator").run(image, [INPUT], options)
    assert outcome.status & Status.ERROR
    assert outcome.error is error
    if fault == "silent":
        assert 8 <= outcome.counters["efforts"] <= 10
    else:
        assert outcome.counters["efforts"] < outcome.error_pc + 1 <= 10


def test_a_machine_without_gate_counts_its_effort():
    config = replace(TINY, name="tiny-no-gate", effort_gate=False)
    model = model_file.load("models/micro.safetensors")
    image = joined([compile(model, config)], [], skipped=(3,))
    patches = patches_of(random_images(model.config, 1), model.config)[0]
    (outcome,) = Simulation.build(config, "verilator").run(image, [patches])
    assert (outcome.counters["efforts"], outcome.counters["attentions_skipped"]) == (1, 3)
    assert outcome.status == Status.DONE
