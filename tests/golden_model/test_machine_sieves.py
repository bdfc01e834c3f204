"""Masks, thresholds and skipped zeros: compiled programs in the golden machine, and the network."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import compile_steps
from golden_model import vit
from spec.isa import Opcode
from spec.presets import preset
from tests.golden_model.test_machine import check_model
from tests.golden_model.test_machine_stages import possible
from tests.grouped import GROUPED
from tests.random_models import pruned, random_images
from tests.shapes import SHAPES, model_of
from tests.sieved_models import masked, with_thresholds
from tests.tiled_models import CASES, SPILLED, SPILLED_STAGES, machine_of
from tests.tiled_models import model_of as tiled_model

TINY, ASIC = preset("tiny"), preset("asic512")
KINDS = {
    "weighted": {},
    "one mean a stage": {"package": "mean", "packages": "each"},
    "no package": {"package": "none"},
}


def total(run, name):
    """Of all instructions."""
    return sum(getattr(work, name) for work in run.execution.work.values())


def unmasked(rules):
    """Encoder blocks whose scores no selection reads."""
    read = [block - 1 for block, rule in rules if rule == "cls_attention"]
    return [block for block in range(9) if block not in read]


@pytest.mark.parametrize("config", [TINY, ASIC], ids=["tiny", "asic512"])
@pytest.mark.parametrize("name", SHAPES)
def test_vit_is_machine(name, config):
    """Any shape, with masks, with thresholds, and with both; old memory does not matter."""
    model = model_of(name)
    run = check_model(masked(model), config, seed=1)
    assert total(run, "cleared") == 0
    if model.config.tokens > 2:
        assert total(run, "masked") > 0
    both = check_model(with_thresholds(masked(model)), config, seed=2)
    assert total(both, "masked") == total(run, "masked")
    assert total(both, "cleared") > 0
    alone = check_model(with_thresholds(model), config, seed=3)
    assert total(alone, "masked") == 0


@pytest.mark.parametrize("point", range(9))
def test_each_threshold(point):
    """One at a time, of a model in which it clears something."""
    values = [0] * 9
    values[point] = 30
    run = check_model(with_thresholds(model_of("wide"), values), TINY)
    assert total(run, "cleared") > 0
    assert (total(run, "zero_probs") > 0) == (point == 4)


def test_skipped_zeros_change_nothing():
    """The same model on a machine that does not skip: fewer multiplications, equal tensors."""
    model = with_thresholds(masked(model_of("odd")))
    plain = dataclasses.replace(TINY, name="plain", zero_skip=False)
    skips, all_of_them = check_model(model, TINY), check_model(model, plain)
    for name, tensor in all_of_them.tensors.items():
        assert np.array_equal(skips.tensors[name], tensor), name
    saved = sum(skips.execution.zeros.values())
    assert saved > 0
    assert sum(all_of_them.execution.zeros.values()) == 0
    macs = sum(all_of_them.execution.macs.values())
    assert sum(skips.execution.macs.values()) == macs - saved


def test_macs_of_masks():
    """What is left out is twice the scores that are not kept, times head_dim."""
    model = masked(model_of("demo"), blocks=[1, 2])
    config = dataclasses.replace(TINY, name="plain", zero_skip=False)
    run, dense = check_model(model, config), check_model(model_of("demo"), config)
    shape = model.config
    scores = shape.heads * shape.tokens**2
    left_out = sum(2 * (scores - kept) * shape.head_dim for kept in shape.masks if kept)
    assert sum(run.execution.masked.values()) == left_out
    macs = sum(dense.execution.macs.values())
    assert sum(run.execution.macs.values()) == macs - left_out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0, 0.3, 0.6, 1])
def test_masks_follow_the_tokens_that_are_left(kind, share):
    """Selections before every block, with both kinds of packages and without."""
    for name in ("micro", "demo", "five_tokens"):
        model = model_of(name)
        rules = [(block, "selector") for block in range(1, model.config.depth)]
        model = with_thresholds(masked(pruned(model, rules, share, **KINDS[kind])))
        for picture in range(2):
            check_model(model, TINY, picture, seed=picture)
    check_model(model, ASIC, seed=1)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_relu_masks_thresholds_and_both_rules(share):
    model = model_of("odd")
    assert model.config.activation == "relu"
    rules = [(1, "cls_attention")]
    model = with_thresholds(masked(pruned(model, rules, share), blocks=unmasked(rules)))
    for config in (TINY, ASIC):
        run = check_model(model, config, seed=1)
        assert total(run, "masked") > 0


def test_an_image_for_any_number_of_tokens():
    """One program: every number of tokens that a selection can leave."""
    base = masked(pruned(tiled_model("even depth"), [(1, "selector")]))
    left, config = set(), machine_of({"token_words": 230})
    program, seen = None, {}
    vit(base, random_images(base.config, 1, seed=100), seen.__setitem__)
    scores = np.unique(seen["blocks.1.selector.score"][0, 1:])
    for threshold in (scores + 1).tolist():
        stage = dataclasses.replace(base.config.stages[0], threshold=threshold)
        shape = dataclasses.replace(base.config, stages=(stage,))
        model = dataclasses.replace(base, config=shape)
        image = compile_steps(model, config).image
        words = [word.tobytes() for word in image.program if word[0] != Opcode.SELECT.value]
        assert program in (None, words)
        program = words
        run = check_model(model, config, seed=1)
        left.add(len(run.tensors["blocks.1.norm1"]))
    assert len(left) == len(scores)


@pytest.mark.parametrize("name", CASES)
def test_in_tiles(name):
    shape, changes, *_ = CASES[name]
    changes = {**changes, "token_words": changes.get("token_words", 4096) + 30}
    config = machine_of(changes)
    model = with_thresholds(masked(tiled_model(shape)))
    check_model(model, config, seed=1)
    dense = tiled_model(shape)
    if dense.config.class_token and possible("selector", dense.config):
        rules = [(1, "selector")]
        config = dataclasses.replace(config, token_words=config.token_words + 30, row_words=64)
        check_model(with_thresholds(masked(pruned(dense, rules, 0.6))), config, seed=2)


@pytest.mark.parametrize("name", SPILLED)
def test_spilled(name):
    shape, changes, *_ = SPILLED[name]
    model = with_thresholds(masked(tiled_model(shape)))
    config = machine_of({**changes, "token_words": changes["token_words"] + 22})
    assert compile_steps(model, config).allocation.tiling.spilled
    check_model(model, config, seed=1)


@pytest.mark.parametrize("name", SPILLED_STAGES)
@pytest.mark.parametrize("share", [0.2, 0.6, 1])
def test_spilled_with_selections(name, share):
    shape, rules, changes, *_ = SPILLED_STAGES[name]
    rules = list(enumerate(rules, 1))
    model = pruned(tiled_model(shape), rules, share)
    blocks = [block for block in unmasked(rules) if block < model.config.depth]
    model = with_thresholds(masked(model, blocks=blocks))
    config = machine_of({**changes, "token_words": changes["token_words"] + 20})
    check_model(model, config, seed=1)


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_thresholds_in_head_groups(groups):
    config = dataclasses.replace(
        GROUPED, head_groups=groups, token_words=400, zero_skip=True, thresholds=True
    )
    for model in (model_of("micro"), model_of("odd"), tiled_model("four groups")):
        run = check_model(with_thresholds(model), config, seed=groups)
        assert total(run, "cleared") > 0
        assert total(run, "zero_probs") == 0


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["selector", "cls_attention", None]),
    st.floats(0, 1),
    st.floats(0, 1),
    st.lists(st.integers(0, 60), min_size=9, max_size=9),
    st.sampled_from(list(KINDS)),
    st.sampled_from([160, 240, 400]),
    st.integers(0, 1000),
)
def test_any_combination(rule, share, density, thresholds, kind, words, seed):
    model = tiled_model("odd depth")
    rules = [(2, rule)] if rule else []
    if rules:
        model = pruned(model, rules, share, seed, **KINDS[kind])
    blocks = [block for block in unmasked(rules) if block < model.config.depth]
    model = with_thresholds(masked(model, density, blocks, seed), thresholds)
    check_model(model, machine_of({"token_words": words}), seed % 5, seed=seed)
