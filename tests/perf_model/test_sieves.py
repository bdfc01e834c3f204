"""Predictions of programs that leave out masked scores and zeros."""

from dataclasses import replace

import numpy as np
import pytest

from compiler import compile_steps
from golden_model.machine import machine
from golden_model.sieve import sieve
from perf_model import estimate
from perf_model.bus import Bus
from perf_model.dram import Dram
from perf_model.estimate import program_of
from perf_model.machine import PredictionError, predict
from perf_model.skip import RowSkipper
from perf_model.work import needs_work
from perf_model.zero_search import ZeroSearch
from quantize.stages import force_keep, with_stages
from rtl_gen.index_engine.nonzero import SEARCH_WORDS
from spec.dram import DRAM_PRESETS
from spec.model_config import Stage
from spec.pixels import batch_of, patches_of
from spec.presets import preset
from tests.random_models import random_images, random_model
from tests.shapes import SHAPES
from tests.sieved_models import masked, with_thresholds

DDR = DRAM_PRESETS["ddr"]
TINY = preset("tiny")


@pytest.fixture(scope="module")
def run():
    """Program, golden run and tokens of a model with every sieve; masks in block 1 only."""
    shape = replace(SHAPES["demo"], activation="relu", depth=3)
    model = random_model(shape, outliers=False)
    images = random_images(model.config, 1)
    model = with_stages(model, [Stage(block=2, rule="selector")], images)
    model = with_thresholds(masked(model, 0.2, [1]))
    model = force_keep(model, images[0], (0.5,))
    compiled = compile_steps(model, TINY)
    patches = patches_of(batch_of(images, model.config), model.config)[0]
    execution = machine(compiled.image, TINY, patches).execution
    return compiled.schedule.instructions, execution, sieve(model, images).left[0].tolist()


def test_counts_are_those_of_the_golden_machine(run):
    program, execution, live = run
    assert needs_work(program)
    found = predict(program, TINY, Dram(DDR), live=live, work=execution.work)
    assert found.macs == sum(execution.macs.values())
    assert found.skipped == {
        "masked": sum(execution.masked.values()),
        "zero": sum(execution.zeros.values()),
    }
    assert min(found.skipped.values()) > 0
    assert found.index_words == sum(work.list_words for work in execution.work.values())
    assert found.cycles == found.array_busy_cycles + sum(found.stalls.values())
    assert found.stalls["unattributed"] == 0


def test_leaps_change_nothing(run, monkeypatch):
    """Rows that are leaped over between those that are not."""
    program, execution, live = run
    quick = predict(program, TINY, Dram(DDR), live=live, work=execution.work)
    monkeypatch.setattr(RowSkipper, "checkpoint", lambda self: None)
    monkeypatch.setattr(Bus, "_stream", lambda self, until: None)
    slow = predict(program, TINY, Dram(DDR), live=live, work=execution.work)
    assert {**vars(quick), "program": 0} == {**vars(slow), "program": 0}


def test_counts_are_needed(run):
    program, execution, live = run
    first = min(pc for pc, work in execution.work.items() if work.place_banks is not None)
    some = {pc: work for pc, work in execution.work.items() if pc != first}
    for work, message in (
        (None, r"pc \d+ \(ATTENTION\): what masks and zeros leave depends on the image"),
        (some, rf"pc {first} \(FULLY_CONNECTED\): .* as a run of the golden machine has it"),
    ):
        with pytest.raises(PredictionError, match=message):
            predict(program, TINY, Dram(DDR), live=live, work=work)


def test_estimates_skip_no_zeros():
    shape = replace(SHAPES["micro"], activation="relu")
    program, _ = program_of(shape, TINY)
    assert not needs_work(program)
    dense = estimate(shape, "micro", replace(TINY, zero_skip=False), "ddr", DDR)
    assert estimate(shape, "micro", TINY, "ddr", DDR)["cycles"] == dense["cycles"]


def test_estimates_know_no_masks():
    shape = replace(SHAPES["micro"], masks=(0, 50))
    with pytest.raises(PredictionError, match=r"which scores they keep: sievit sieves"):
        estimate(shape, "micro", TINY, "ddr", DDR)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_steps_of_the_search(share):
    """At least as many as the fullest bank needs, at most as many as word by word."""
    rng = np.random.default_rng(int(share * 10))
    counts = rng.binomial(4, share, (20, 6, 4))
    packed = (counts << 8 * np.arange(4)).sum(axis=2).tolist()
    search = ZeroSearch(4)
    search.begin(packed)
    steps, done = [0] * len(packed), 0
    for _ in range(5000):
        taken = search.valid and bool(rng.random() < 0.8)
        if taken:
            steps[done] += 1
            done += search.last
        enters = search.room and search.row < len(packed)
        search.step(taken, enters)
        assert len(search.pending) <= SEARCH_WORDS
    assert done == len(packed)
    assert not search.busy
    low = np.maximum(counts.sum(axis=1).max(axis=1), 1)
    high = np.maximum(counts.max(axis=2).sum(axis=1), 1)
    assert (low <= steps).all()
    assert (steps <= high).all()
