"""Scores, selections and stages: errors over whole ranges, corners, and invariants."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model import vit
from golden_model.units.select_tokens import package_row, select_tokens
from golden_model.units.token_score import (
    attention_score,
    classifier_score,
    keep_share,
    plan_sigmoid,
)
from spec.formats import SCORE, SELECTOR
from spec.isa import Package
from spec.model_file import Model, Stage, tensor_table
from tests.random_models import SMALL, random_images, random_model

EVERY = np.arange(-(2**15), 2**15)
HALF = 1 << SELECTOR.score_bits - 1


def selection(h, score, **changes):
    settings_ = {
        "threshold": HALF,
        "prefix": 1,
        "packages": 0,
        "package": Package.WEIGHTED,
        "each": False,
        "weight_shift": SELECTOR.weight_shift(HALF),
    }
    return select_tokens(np.asarray(h, np.int16), np.asarray(score), **settings_ | changes)


def with_stages(*stages: Stage, seed: int = 0, **changes: object) -> Model:
    """The small random model, deeper, with random selectors whose scores lie around one half."""
    rng = np.random.default_rng(seed)
    model = random_model(replace(SMALL, depth=4), seed=seed, outliers=False)
    config = replace(model.config, stages=stages, **changes)
    tensors = dict(model.tensors)
    for name, (dtype, shape) in tensor_table(config).items():
        if name in tensors:
            continue
        kind = name.rsplit(".", 1)[1]
        low, high = {
            "weight": (-90, 91),
            "bias": (-800, 801),
            "mult": (1 << 15, 1 << 16),
            "zero_point": (-110, -90),
            "shift": (22, 23) if ".act." in name else (15, 16),
        }[kind]
        if name.endswith("mean.mult"):
            low, high = 1 << 15, (1 << 15) + 1
        values = rng.integers(low, high, shape) if dtype != "float16" else rng.normal(0, 1, shape)
        tensors[name] = values.astype(dtype)
    return replace(model, config=config, tensors=tensors)


def run(model, images):
    seen = {}
    logits = vit(model, images, lambda name, array: seen.setdefault(name, []).append(array))
    return logits, seen


def test_share_of_two_classes_over_all_inputs():
    got = keep_share(EVERY)
    true = 256 / (1 + 2.0 ** (-EVERY / 128))
    assert 0.5 < np.abs(got - true).max() < 1.0
    assert (keep_share(EVERY[1:]) + keep_share(-EVERY[1:]))[EVERY[1:] != 0].tolist() == [
        256
    ] * 65534
    assert keep_share([0]) == 128
    assert (np.diff(got) >= 0).all()


def test_plan_sigmoid_over_all_inputs():
    got = plan_sigmoid(EVERY)
    true = 256 / (1 + np.exp(-EVERY / 256))
    assert 0.018 * 256 < np.abs(got - true).max() < 0.0215 * 256
    assert (np.diff(got) >= 0).all()
    assert plan_sigmoid([-1280, -1279, 0, 1279, 1280]).tolist() == [0, 1, 128, 255, 256]


def test_score_of_equal_heads_is_their_share_and_half_is_a_tie():
    zeros = np.zeros(3, int)
    assert classifier_score(zeros, [5, 700, -9]) == HALF
    assert classifier_score([32767] * 3, zeros) == 1 << SELECTOR.score_bits
    assert classifier_score([-32768] * 3, zeros) == 0


def test_heads_that_nobody_attends_to_count_alike():
    assert classifier_score([32767, -32768], [-(2**15)] * 2) == HALF
    assert classifier_score([32767, -32768], [-(2**15), 1280]) == 0
    assert classifier_score([32767, -32768], [1280, -(2**15)]) == 255 << 6


def test_attention_of_cls_sums_to_one_for_every_head():
    rng = np.random.default_rng(0)
    probs = rng.integers(0, 256, (50, 4, 40)).astype(np.uint8)
    probs[:, :, 0] = 255
    score = attention_score(probs)
    one = 1 << SELECTOR.score_bits
    assert np.abs(score.sum(axis=1) - 4 * one).max() < 4 * one * 2**-7
    alone = np.full((16, 1), 255, np.uint8)
    assert attention_score(alone) == SCORE.high


def test_kept_rows_keep_their_order_and_the_package_comes_last():
    h = np.arange(12).reshape(6, 2) * 100
    rows, keep, packages = selection(h, [0, HALF, 0, HALF + 1, HALF - 1, 16384])
    assert keep.tolist() == [True, True, False, True, False, True]
    assert rows[:4].tolist() == h[keep].tolist()
    assert rows[4].tolist() == h[4].tolist()
    assert packages == 1


def test_none_dropped_makes_no_package():
    h = np.arange(8).reshape(4, 2)
    rows, _, packages = selection(h, [0] + 3 * [HALF])
    assert rows.tolist() == h.tolist()
    assert packages == 0


@pytest.mark.parametrize("score", [[0, 0, 0, 0], [9, 1, 1, 1]])
def test_none_kept(score):
    h = np.array([[7, 7], [1, 2], [3, 4], [5, 9]])
    rows, _, packages = selection(h, score)
    assert rows.tolist() == [[7, 7], [3, 5]]
    assert packages == 1
    rows, _, packages = selection(h, score, package=Package.NONE)
    assert rows.tolist() == [[7, 7], [1, 2]]
    assert packages == 0


def test_one_token():
    rows, _, packages = selection([[1], [-40]], [0, 0])
    assert rows.tolist() == [[1], [-40]]
    assert packages == 1
    rows, _, packages = selection([[-40]], [0], prefix=0)
    assert (rows.tolist(), packages) == ([[-40]], 1)


def test_package_rows_of_earlier_stages():
    h = np.array([[0], [10], [20], [30]])
    score = [0, HALF, 0, 4096]
    merged, _, count = selection(h, score, packages=1)
    assert merged.tolist() == [[0], [10], [30]]
    assert count == 1
    each, _, count = selection(h, score, packages=1, each=True)
    assert each.tolist() == [[0], [10], [30], [20]]
    assert count == 2


@given(
    st.integers(1, 1022),
    st.integers(1, SCORE.high),
    st.sampled_from([Package.MEAN, Package.WEIGHTED]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_package_is_the_weighted_mean(dropped, threshold, package, random):
    rng = np.random.default_rng(random.randrange(1 << 32))
    h = rng.integers(-(2**15), 2**15, (dropped, 3)).astype(np.int16)
    score = rng.integers(0, threshold, dropped)
    shift = SELECTOR.weight_shift(threshold)
    weight = score >> shift
    assert weight.max() < 1 << SELECTOR.weight_bits
    if package == Package.MEAN or not weight.any():
        weight = np.ones(dropped, int)
    got = package_row(h, score, package, shift)
    true = (weight @ h.astype(float)) / weight.sum()
    assert np.abs(got - true).max() <= 0.5 + np.abs(true).max() * 2**-14


@pytest.mark.parametrize("rule", ["selector", "cls_attention"])
@pytest.mark.parametrize("changes", [{}, {"packages": "each"}, {"package": "none"}])
def test_images_of_a_batch_do_not_meet(rule, changes):
    threshold = HALF if rule == "selector" else 3600
    stages = [Stage(block=n, rule=rule, threshold=threshold) for n in (1, 2, 3)]
    model = with_stages(*stages, **changes)
    images = random_images(model.config, 12)
    logits, seen = run(model, images)
    alone = [run(model, images[n : n + 1]) for n in range(len(images))]
    assert logits.tolist() == [one[0].tolist() for one, _ in alone]
    counts = [
        tuple(tensors[f"blocks.{n}.selector.tokens"][0].shape[1] for n in (1, 2, 3))
        for _, tensors in alone
    ]
    assert len(set(counts)) > 2
    for count in counts:
        assert model.config.tokens >= count[0] >= count[1] >= count[2] >= 2
    assert sum(len(part) for part in seen["head"]) == len(images)


def test_thresholds_at_the_ends():
    def counts(threshold):
        model = with_stages(Stage(block=2, rule="selector", threshold=threshold))
        images = random_images(model.config, 4)
        return {part.shape[1] for part in run(model, images)[1]["blocks.2.selector.tokens"]}

    assert counts(0) == {SMALL.tokens}
    assert counts(SCORE.high) == {2}


def test_a_threshold_of_zero_is_the_dense_model():
    model = with_stages(Stage(block=1, rule="selector", threshold=0))
    dense = replace(model, config=replace(model.config, stages=()))
    images = random_images(model.config, 3)
    assert run(model, images)[0].tolist() == run(dense, images)[0].tolist()
