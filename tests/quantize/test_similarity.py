"""Similarity of representations, and the path of a model that changes least."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from cli.options import BUNDLED
from quantize import float_forward, float_model_of
from quantize.errors import QuantizeError
from quantize.similarity import (
    attention_similarity,
    best_path,
    block_order,
    linear_cka,
    output_order,
)
from spec.model_config import Effort
from spec.model_file import load


@pytest.fixture(scope="module")
def micro():
    return float_model_of(load(BUNDLED / "micro.safetensors"))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (12, 12, 12), dtype=np.uint8)


def test_cka_is_that_of_the_features():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3, 5))
    y = np.tanh(x[:, :2]) + 0.5 * rng.normal(size=(40, 2, 5)) + 3
    a, b = (each.reshape(40, -1) - each.reshape(40, -1).mean(axis=0) for each in (x, y))
    cross, own = np.linalg.norm(b.T @ a), np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    assert linear_cka(x, y) == pytest.approx(cross**2 / own)
    assert 0.2 < linear_cka(x, y) < 0.95


def test_cka_does_not_see_rotation_scale_and_offset():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 6))
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert linear_cka(x, 3 * x @ rotation - 2) == pytest.approx(1)
    assert linear_cka(x, rng.normal(size=(30, 6))) < 0.5


def test_cka_of_constants_is_refused():
    with pytest.raises(QuantizeError, match="the same features"):
        linear_cka(np.ones((4, 2)), np.ones((4, 2)))


def test_similarity_is_of_the_input_of_a_block_and_of_what_attention_adds(micro, images):
    found = attention_similarity(micro, images)
    seen = {}
    float_forward(micro, images, seen.__setitem__)
    assert found == [
        pytest.approx(linear_cka(seen["patch_embed"], seen["blocks.0.attn.proj"])),
        pytest.approx(linear_cka(seen["blocks.0.mlp.fc2"], seen["blocks.1.attn.proj"])),
    ]
    assert 0.5 < min(found) < max(found) < 1


def test_a_block_whose_attention_adds_nothing_is_skipped_first(micro, images):
    silent = {f"blocks.1.attn.proj.{part}": 0 for part in ("weight", "bias")}
    parameters = {name: value * silent.get(name, 1) for name, value in micro.parameters.items()}
    found = attention_similarity(replace(micro, parameters=parameters), images)
    assert found[1] == pytest.approx(1)
    assert best_path(block_order(found), 1) == (1,)


def test_the_order_by_output_is_greedy():
    model = float_model_of(load(BUNDLED / "micro-all.safetensors"))
    config = replace(model.config, stages=())
    own = {n: v for n, v in model.parameters.items() if "selector" not in n}
    model = replace(model, config=config, parameters=own)
    images = np.random.default_rng(2).integers(0, 256, (10, 12, 12), dtype=np.uint8)

    def head_input(*skipped):
        seen = {}
        effort = Effort(skipped=tuple(sorted(skipped)))
        alone = replace(model, config=replace(config, efforts=(effort,)))
        float_forward(alone, images, seen.__setitem__)
        return seen["norm"]

    order = output_order(model, images)
    assert sorted(order) == [0, 1, 2, 3]
    for number in range(3):
        kept = {
            block: linear_cka(head_input(), head_input(*order[:number], block))
            for block in order[number:]
        }
        assert max(kept, key=kept.__getitem__) == order[number]


def test_similarity_does_not_depend_on_efforts(micro, images):
    config = replace(micro.config, efforts=(Effort(skipped=(0,)),))
    assert attention_similarity(replace(micro, config=config), images) == attention_similarity(
        micro, images
    )


@pytest.mark.parametrize("active", [1, 2, 4, 6])
def test_the_best_path_has_the_largest_sum_of_similarities(active):
    similarity = np.random.default_rng(active).random(6)
    best = max(combinations(range(6), 6 - active), key=lambda path: similarity[list(path)].sum())
    assert best_path(block_order(similarity.tolist()), active) == best


@pytest.mark.parametrize("active", [0, 7])
def test_paths_have_one_to_all_attentions(active):
    with pytest.raises(QuantizeError, match=f"active attentions must be 1..6, not {active}"):
        best_path(range(6), active)


def test_what_has_no_similarity(micro, images):
    with pytest.raises(QuantizeError, match="at least 2 images, not 1"):
        attention_similarity(micro, images[:1])
    tokens = float_model_of(load(BUNDLED / "micro-tokens.safetensors"))
    with pytest.raises(QuantizeError, match="stages"):
        attention_similarity(tokens, images)
