"""Attention by lists on the emitted machine: every write, every counter, and wrong lists."""

from dataclasses import replace

import numpy as np
import pytest

from compiler import compile
from golden_model.expected import expected_tensors
from golden_model.machine import MachineError, machine
from golden_model.trace import assemble_tensors
from sim.machine import Options, Simulation
from sim.trace import compare_tensors, compare_writes
from spec.assembler import decode
from spec.isa import Opcode
from spec.masks import LIST_ENTRY
from spec.pixels import patches_of
from spec.presets import preset
from spec.registers import STALLS, Error, Status
from tests.random_models import random_images
from tests.shapes import model_of
from tests.sieved_models import masked, with_thresholds

TINY = preset("tiny")
VALID = 1 << LIST_ENTRY["valid"].offset


def check(model, config, simulator, count=1, options=None):
    """Simulate, and hold everything against the golden network and the golden machine."""
    image = compile(model, config)
    images = random_images(model.config, count, seed=100)
    inputs = list(patches_of(images, model.config))
    outcomes = Simulation.build(config, simulator).run(image, inputs, options or Options(latency=9))
    for number, outcome in enumerate(outcomes):
        assert outcome.status == Status.DONE
        golden = machine(image, config, inputs[number]).execution
        assert compare_writes(outcome.writes, golden.writes, image) == []
        logits, expected = expected_tensors(model, images[number])
        found = compare_tensors(assemble_tensors(image, outcome.writes), expected)
        assert [str(one) for one in found if one.differing] == []
        np.testing.assert_array_equal(outcome.logits, logits)
        counters, work = outcome.counters, golden.work.values()
        stalls = sum(counters[f"stall_{cause}_cycles"] for cause in STALLS)
        assert counters["array_busy_cycles"] + stalls == counters["cycles"]
        assert counters["stall_unattributed_cycles"] == 0
        assert counters["macs_done"] == sum(golden.macs.values())
        assert counters["macs_skipped_masked"] == sum(golden.masked.values()) > 0
        assert counters["macs_skipped_zero"] == sum(golden.zeros.values())
        assert counters["index_words_read"] == sum(one.list_words for one in work)
        assert counters["values_cleared"] == sum(one.cleared for one in work)
    return outcomes


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_masks_on_tiny(simulator):
    check(masked(model_of("micro"), 0.3), TINY, simulator, count=2)


def test_masks_and_thresholds():
    check(with_thresholds(masked(model_of("micro"), 0.3)), TINY, "verilator", count=2)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_any_share(share):
    """Rows of a key or two; rows of all keys."""
    check(masked(model_of("micro"), share), TINY, "verilator")


def test_stalls_change_no_result():
    options = Options(stall=128, latency=7, bandwidth=5)
    check(masked(model_of("micro"), 0.3), TINY, "verilator", options=options)


def wrong(image, config, change):
    """The image with a change in the lists of its second head, and the ATTENTION that reads it."""
    program = [decode(word.tobytes()) for word in image.program]
    lists = [pc for pc, one in enumerate(program) if one.opcode == Opcode.SIEVE]
    found = []
    for pc, one in enumerate(program):
        if one.opcode == Opcode.ATTENTION:
            sieve = program[max(at for at in lists if at < pc)].fields
            loads = [
                other.fields["offset"]
                for other in program[:pc]
                if other.opcode == Opcode.LOAD_TOKENS and other.fields["token"] == sieve["lists"]
            ]
            found.append((pc, loads[-1], sieve["list_words"] * config.lanes))
    pc, start, size = found[1]
    weights = image.weights.copy()
    change(weights[start : start + size].reshape(-1, config.banks))
    return replace(image, weights=weights), pc


def no_header(steps):
    steps[0, -1] = 1


def no_steps(steps):
    steps[0, 0] = 0


def too_many_steps(steps):
    steps[0, 0] = 33


def beyond_the_end(steps):
    """The last pair names one step more than there is."""
    at, count = 0, len(steps)
    while at + 1 + steps[at, 0] < count and steps[at + 1 + steps[at, 0], 0]:
        at += 1 + int(steps[at, 0])
    steps[at, 0] = min(32, count)


def no_key(steps):
    steps[1 : 1 + steps[0, 0]] &= 255 - VALID


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_wrong_lists_end_in_an_error(simulator):
    image = compile(masked(model_of("micro"), 0.3), TINY)
    images = random_images(model_of("micro").config, 1, seed=100)
    (patches,) = patches_of(images, model_of("micro").config)
    simulation = Simulation.build(TINY, simulator)
    for change in (no_header, no_steps, too_many_steps, beyond_the_end, no_key):
        bad, pc = wrong(image, TINY, change)
        with pytest.raises(MachineError) as caught:
            machine(bad, TINY, patches)
        assert (caught.value.code, caught.value.pc) == (Error.INDEX, pc), change.__name__
        (outcome,) = simulation.run(bad, [patches], Options(max_cycles=200_000))
        found = (outcome.ended, outcome.error, outcome.error_pc)
        assert found == ("interrupt", Error.INDEX, pc), change.__name__
        assert Status.ERROR in outcome.status
        assert outcome.status_after_clear == Status(0)
