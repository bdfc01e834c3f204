"""Models that drop tokens: the compiled program in the golden machine against the network."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.expected import expected_tensors
from spec.presets import preset
from tests.golden_model.test_machine import check_model
from tests.grouped import GROUPED
from tests.random_models import pruned, random_images
from tests.shapes import SELECTING, model_of
from tests.tiled_models import CASES, SHAPES, machine_of
from tests.tiled_models import model_of as tiled_model

TINY = preset("tiny")
RULES = ("selector", "cls_attention")
KINDS = {
    "weighted": {},
    "one mean a stage": {"package": "mean", "packages": "each"},
    "no package": {"package": "none"},
}


@pytest.mark.parametrize("preset_name", SELECTING)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", RULES)
def test_vit_is_machine(rule, kind, preset_name):
    model = pruned(model_of("micro"), [(1, rule)], **KINDS[kind])
    counts = {
        len(check_model(model, SELECTING[preset_name], picture, seed=1).tensors["blocks.1.norm1"])
        for picture in range(3)
    }
    assert min(counts) < model.config.tokens


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("five_tokens", "selector"),
        ("odd", "cls_attention"),
        ("wide", "selector"),
        ("wide", "cls_attention"),
        ("distilled", "selector"),
        ("distilled_odd", "cls_attention"),
        ("mean", "selector"),
        ("unused_token", "cls_attention"),
    ],
)
def test_any_shape(name, rule):
    """Heads that are no whole words, two tokens before the patches, the mean of the patches."""
    model = model_of(name)
    stages = [(block, rule) for block in range(1, model.config.depth)]
    for config in (TINY, preset("asic512")):
        check_model(pruned(model, stages, seed=3), config, seed=3)


@pytest.mark.parametrize("kind", KINDS)
def test_several_selections(kind):
    rules = [(1, "selector"), (2, "cls_attention"), (3, "selector")]
    model = pruned(model_of("demo"), rules, 0.3, **KINDS[kind])
    for picture in range(2):
        check_model(model, TINY, picture, seed=picture)


@pytest.mark.parametrize(("share", "stay"), [(0, 10), (1, 2)])
@pytest.mark.parametrize("package", ["weighted", "none"])
def test_all_or_nothing_stays(share, stay, package):
    model = pruned(model_of("micro"), [(1, "selector")], package=package)
    stage = dataclasses.replace(model.config.stages[0], threshold=65535 * share)
    shape = dataclasses.replace(model.config, stages=(stage,))
    run = check_model(dataclasses.replace(model, config=shape), TINY, seed=2)
    assert len(run.tensors["blocks.1.selector.tokens"]) == stay


def possible(rule, shape):
    """Whether a model of this shape can have such a selection."""
    fits = shape.embed_dim % shape.heads == 0 if rule == "selector" else shape.class_token
    return fits and shape.depth > 1


@pytest.mark.parametrize(
    ("name", "rule"),
    [(name, rule) for name in CASES for rule in RULES if possible(rule, SHAPES[CASES[name][0]])],
)
def test_in_tiles(name, rule):
    """Also where the last tiles have no rows."""
    shape, changes, *_ = CASES[name]
    model = tiled_model(shape)
    blocks = range(1, model.config.depth)
    words = changes.get("token_words", TINY.token_words)
    config = machine_of({**changes, "token_words": words + 40 * (name == "six tiles")})
    model = pruned(model, [(block, rule) for block in blocks], 0.6)
    for picture in range(2):
        check_model(model, config, picture, seed=picture)


@pytest.mark.parametrize("groups", [2, 3, 4])
@pytest.mark.parametrize("rule", RULES)
def test_in_head_groups(rule, groups):
    """More groups than heads, and fewer: those without a head have no scores."""
    config = dataclasses.replace(GROUPED, head_groups=groups, token_words=400)
    for name in ("micro", "odd"):
        if rule == "cls_attention" or name == "micro":
            check_model(pruned(model_of(name), [(1, rule)]), config, seed=groups)
    four = tiled_model("four groups")
    check_model(pruned(four, [(1, rule)]), config, seed=groups)


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(RULES),
    st.sampled_from(RULES),
    st.floats(0, 1),
    st.sampled_from(list(KINDS)),
    st.integers(0, 1000),
)
def test_any_selection(first, second, share, kind, seed):
    model = pruned(tiled_model("odd depth"), [(1, first), (2, second)], share, seed, **KINDS[kind])
    check_model(model, machine_of({"token_words": 240}), seed % 5, seed=seed)


def test_expected_tensors_are_those_of_the_picture():
    model = pruned(model_of("micro"), [(1, "selector")])
    images = random_images(model.config, 3, seed=7)
    counts = [len(expected_tensors(model, image)[1]["blocks.1.norm1"]) for image in images]
    assert len(set(counts)) > 1
