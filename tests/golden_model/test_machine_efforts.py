"""Models of several efforts: the compiled program in the golden machine against the network."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from compiler import compile
from golden_model.evaluate import evaluate
from golden_model.expected import expected_tensors
from golden_model.machine import machine
from golden_model.sieve import sieve
from golden_model.vit import answer, vit
from spec.config import Config
from spec.model_file import Model
from spec.pixels import patches_of
from spec.presets import PRESETS, preset
from tests.effort_models import every_skip, parting, skipping
from tests.golden_model.test_machine import check_model
from tests.grouped import GROUPED
from tests.random_models import pruned, random_images
from tests.shapes import SHAPES, model_of
from tests.sieved_models import masked, with_thresholds
from tests.tiled_models import CASES, SPILLED, machine_of
from tests.tiled_models import model_of as tiled_model

TINY = preset("tiny")
GATED = {name: config for name, config in PRESETS.items() if config.effort_gate}


def check(
    model: Model, skips: Sequence[Sequence[int]], config: Config, efforts: set[int], count: int = 8
) -> None:
    """Every tensor of every effort that each image takes; these numbers of efforts occur."""
    images = some(model, count)
    model = parting(model, *skips, images=images)
    image, taken = compile(model, config), []
    for picture in images:
        logits, expected = expected_tensors(model, picture)
        run = machine(image, config, patches_of(picture[None], model.config)[0], seed=2)
        assert list(run.tensors) == list(expected)
        for name, tensor in expected.items():
            assert np.array_equal(run.tensors[name], tensor), name
        assert np.array_equal(run.logits, logits)
        skipped = [len(effort.skipped) for effort in model.config.passes]
        assert run.execution.attentions_skipped == sum(skipped[: run.execution.efforts])
        assert run.execution.credits == {}
        taken.append(run.execution.efforts)
    assert set(taken) == efforts
    assert taken == (answer(model, images).effort + 1).tolist()


def some(model: Model, count: int = 8) -> np.ndarray:
    """Images of which about half need more than the first effort."""
    return random_images(model.config, count, seed=9)


@pytest.mark.parametrize("config", [*PRESETS.values(), GROUPED], ids=lambda config: config.name)
@pytest.mark.parametrize("name", ["micro", "odd", "mean"])
def test_blocks_without_attention(name, config):
    for skipped in every_skip(SHAPES[name].depth):
        run = check_model(skipping(model_of(name), *skipped), config, seed=1)
        assert (run.execution.efforts, run.execution.attentions_skipped) == (1, len(skipped))


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if case[3]])
def test_tiles_without_attention(case):
    shape, changes, *_ = CASES[case]
    for skipped in every_skip(tiled_model(shape).config.depth):
        check_model(skipping(tiled_model(shape), *skipped), machine_of(changes), seed=1)


@pytest.mark.parametrize("config", GATED.values(), ids=GATED)
@pytest.mark.parametrize("name", ["demo", "micro", "odd", "wide", "no_class_token", "distilled"])
def test_images_end_early_or_do_not(name, config):
    model = model_of(name)
    last = model.config.depth - 1
    check(model, [(last,), ()], config, {1, 2})


@pytest.mark.parametrize("config", GATED.values(), ids=GATED)
@pytest.mark.parametrize("name", ["demo", "odd", "wide"])
def test_three_efforts(name, config):
    model = model_of(name)
    check(model, [(1,), (0,), ()], config, {1, 2, 3}, 16)


@pytest.mark.parametrize("case", [name for name in SPILLED if name != "one block"])
def test_spilled_without_attention(case):
    shape, changes, *_ = SPILLED[case]
    model, config = tiled_model(shape), machine_of({**changes, "norm_tables": 64})
    for skipped in every_skip(model.config.depth)[:-1]:
        check_model(skipping(model, *skipped), config, seed=1)


def test_efforts_that_spill():
    """Each has SCRATCH for itself."""
    shape, changes, *_ = SPILLED["five tiles"]
    model, config = tiled_model(shape), machine_of({**changes, "norm_tables": 64})
    check(model, [(0, 2), (1,), ()], config, {1, 2, 3}, 16)


def test_selections_that_spill():
    model = pruned(tiled_model("odd depth"), [(1, "selector")])
    config = machine_of({"token_words": 120, "norm_tables": 64})
    check(model, [(0, 2), (2,)], config, {1, 2}, 10)


def test_all_blocks_skipped():
    """Without attention the mean of the patches still depends on the picture, the CLS row not."""
    model = model_of("no_class_token")
    check(model, [(0, 1), ()], TINY, {1, 2})
    alike = vit(skipping(model_of("odd"), 0, 1), some(model_of("odd")))
    assert (alike == alike[0]).all()


def test_efforts_in_tiles():
    """Tiles of their own for each effort."""
    shape, changes, *_ = CASES["six tiles"]
    model = tiled_model(shape)
    check(model, [(0, 2), (1,), ()], machine_of(changes), {1, 2, 3}, 16)


@pytest.mark.parametrize("config", GATED.values(), ids=GATED)
@pytest.mark.parametrize("rule", ["selector", "cls_attention"])
def test_stages_and_efforts(rule, config):
    """Tokens that one effort drops are there again in the next one."""
    model = pruned(model_of("wide"), [(1, "selector"), (2, rule)])
    skip = (0, 2) if rule == "cls_attention" else (0, 1)
    check(model, [skip, ()], config, {1, 2}, 16)


def test_stages_and_efforts_in_tiles():
    shape, changes, *_ = CASES["smallest row memory"]
    model = pruned(tiled_model(shape), [(1, "selector"), (2, "selector")])
    for skip in ((1,), (2,), (0, 1)):
        check(model, [skip, ()], machine_of(changes), {1, 2}, 12)


@pytest.mark.parametrize("config", GATED.values(), ids=GATED)
def test_masks_thresholds_and_efforts(config):
    model = with_thresholds(masked(model_of("wide")))
    check(model, [(1,), ()], config, {1, 2}, 12)


def test_every_sieve_and_efforts():
    model = with_thresholds(masked(pruned(model_of("wide"), [(1, "selector")])))
    check(model, [(1,), ()], TINY, {1, 2}, 16)


def test_sieve_and_evaluate_know_the_efforts():
    model = pruned(model_of("wide"), [(1, "selector")])
    both = parting(model, (0,), ())
    images = some(both, 24)
    found, evaluated, wanted = sieve(both, images), evaluate(both, images), answer(both, images)
    for one in (found, evaluated):
        assert np.array_equal(one.logits, wanted.logits)
        assert np.array_equal(one.effort, wanted.effort)
    alone = [sieve(skipping(model, 0), images), sieve(model, images)]
    for number, one in enumerate(alone):
        taken = wanted.effort >= number
        assert np.array_equal(found.every_left[taken, number], one.left[taken])
        assert not found.every_left[~taken, number].any()
        ended = wanted.effort == number
        assert np.array_equal(found.left[ended], one.left[ended])
        assert np.array_equal(found.alive[ended], one.alive[ended])


def test_gate_is_refused_by_a_machine_without_one():
    image = compile(parting(model_of("micro"), (1,), ()), TINY)
    plain = dataclasses.replace(TINY, effort_gate=False)
    image = dataclasses.replace(image, config_digest=plain.digest())
    patches = patches_of(random_images(SHAPES["micro"], 1), SHAPES["micro"])[0]
    with pytest.raises(Exception, match="GATE on a machine without effort_gate"):
        machine(image, plain, patches)
