"""Models of several efforts on the emitted machine, with pictures that end early and others."""

from dataclasses import replace

import numpy as np
import pytest

from cli.options import load_dataset, load_model
from compiler import compile, compile_steps
from golden_model.expected import expected_tensors
from golden_model.machine import machine
from golden_model.trace import assemble_tensors
from golden_model.vit import answer
from sim.bench import SIMULATORS
from sim.machine import Options, Simulation
from sim.trace import compare_tensors, compare_writes
from spec.isa import program_parts
from spec.pixels import patches_of
from spec.presets import preset
from spec.registers import STALLS, Status
from tests.effort_models import parting
from tests.random_models import pruned, random_images, random_model
from tests.shapes import model_of
from tests.sieved_models import masked, with_thresholds
from tests.tiled_models import SPILLING

TINY = preset("tiny")


def check(model, simulator, images, options=None):
    """Every tensor, every write and every counter of efforts; how many each picture took."""
    image = compile(model, TINY)
    ends = [part.stop for part in program_parts(image.program[:, 0])]
    inputs = list(patches_of(images, model.config))
    options = options or Options(latency=64, bandwidth=9)
    outcomes = Simulation.build(TINY, simulator).run(image, inputs, options)
    taken = []
    for picture, patches, outcome in zip(images, inputs, outcomes, strict=True):
        assert outcome.status == Status.DONE
        assert outcome.violations == 0
        logits, expected = expected_tensors(model, picture)
        found = compare_tensors(assemble_tensors(image, outcome.writes), expected)
        assert [str(one) for one in found if one.differing] == []
        golden = machine(image, TINY, patches).execution
        assert compare_writes(outcome.writes, golden.writes, image) == []
        np.testing.assert_array_equal(outcome.logits, logits)
        counters = outcome.counters
        stalls = sum(counters[f"stall_{cause}_cycles"] for cause in STALLS)
        assert counters["array_busy_cycles"] + stalls == counters["cycles"]
        assert counters["stall_unattributed_cycles"] == 0
        assert counters["efforts"] == golden.efforts
        assert counters["attentions_skipped"] == golden.attentions_skipped
        assert counters["macs_done"] == sum(golden.macs.values())
        assert counters["instructions"] == ends[golden.efforts - 1]
        taken.append(golden.efforts)
    assert taken == (answer(model, images).effort + 1).tolist()
    return taken


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_micro(simulator):
    model = load_model("micro~skip1@2")
    images = load_dataset("sample", "test", model.config).images
    taken = answer(model, images).effort
    some = [int(np.flatnonzero(taken == number)[0]) for number in (0, 1)]
    assert check(model, simulator, images[[*some, some[0]]]) == [1, 2, 1]


def test_three_efforts():
    model = model_of("odd")
    images = random_images(model.config, 8, seed=9)
    assert set(check(parting(model, (1,), (0,), (), images=images), "verilator", images)) == {
        *(1, 2, 3)
    }


@pytest.mark.regress
def test_efforts_that_spill():
    """Tiles go through a block without attention on chip."""
    shape = replace(SPILLING, image_size=32, mlp_dim=400)
    model = random_model(shape, outliers=False, images=4)
    images = random_images(shape, 4, seed=9)
    model = parting(model, (0,), (), images=images)
    parts = compile_steps(model, TINY).parts
    assert all(part.allocation.tiling.spilled for part in parts)
    assert set(check(model, "verilator", images[:3])) == {1, 2}


def test_every_sieve_in_both_efforts():
    """What a selection, lists and thresholds left is not there behind the gate."""
    model = with_thresholds(masked(pruned(model_of("wide"), [(1, "selector")])))
    images = random_images(model.config, 6, seed=9)
    model = parting(model, (1,), (), images=images)
    taken = check(model, "verilator", images, Options(stall=60, latency=9))
    assert set(taken) == {1, 2}
