"""Models without some of their sieves."""

from dataclasses import replace

import pytest

from quantize.errors import QuantizeError
from quantize.stages import with_stages
from quantize.variants import sieves_of, variants, without
from spec.model_file import Stage, tensor_table
from spec.presets import preset
from tests.random_models import random_images
from tests.shapes import model_of
from tests.sieved_models import masked, with_thresholds

TINY = preset("tiny")


@pytest.fixture(scope="module")
def models():
    """A dense model, and the same with every sieve."""
    dense = model_of("micro")
    images = random_images(dense.config, 2)
    staged = with_stages(dense, [Stage(block=1, rule="selector")], images)
    return dense, with_thresholds(masked(staged, 0.3))


def test_without_all_it_is_the_dense_model(models):
    dense, model = models
    bare = without(model, "tokens", "masks", "thresholds")
    assert bare.config == dense.config
    assert bare.tensors.keys() == dense.tensors.keys()
    assert all((bare[name] == dense[name]).all() for name in dense.tensors)


@pytest.mark.parametrize("sieve", ["tokens", "masks", "thresholds"])
def test_without_one(models, sieve):
    _, model = models
    left = without(model, sieve)
    assert set(left.tensors) == set(tensor_table(left.config))
    had = {"tokens": bool(left.config.stages), "masks": any(left.config.masks)}
    had["thresholds"] = left.config.thresholds
    assert [name for name, kept in had.items() if not kept] == [sieve]


def test_unknown_sieve(models):
    message = "can lose tokens, masks, thresholds, efforts, not 'zeros'"
    with pytest.raises(QuantizeError, match=message):
        without(models[1], "zeros")


def test_variants(models):
    dense, model = models
    every = variants(model, TINY)
    assert [each.name for each in every] == [
        *("dense", "tokens", "masks", "zeros", "thresholds", "all")
    ]
    assert [each.config.zero_skip for each in every] == [False, False, False, True, True, True]
    assert every[-1].model.config == model.config
    assert [each.name for each in variants(dense, TINY)] == ["dense"]
    assert sieves_of(model, replace(TINY, zero_skip=False)) == ("tokens", "masks")
