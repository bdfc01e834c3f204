"""Programs of several parts on the emitted machine: every write, every tensor, every counter."""

from dataclasses import replace

import numpy as np
import pytest

from compiler import compile
from golden_model.machine import machine
from golden_model.trace import assemble_tensors
from sim.bench import SIMULATORS
from sim.machine import Options, Simulation
from sim.trace import compare_writes
from spec import model_file
from spec.isa import Window
from spec.pixels import patches_of
from spec.presets import preset
from spec.registers import STALLS, Status
from tests.joined import execute, joined, three_parts
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


def test_a_machine_without_gate_counts_its_effort():
    config = replace(TINY, name="tiny-no-gate", effort_gate=False)
    model = model_file.load("models/micro.safetensors")
    image = joined([compile(model, config)], [], skipped=(3,))
    patches = patches_of(random_images(model.config, 1), model.config)[0]
    (outcome,) = Simulation.build(config, "verilator").run(image, [patches])
    assert (outcome.counters["efforts"], outcome.counters["attentions_skipped"]) == (1, 3)
    assert outcome.status == Status.DONE
