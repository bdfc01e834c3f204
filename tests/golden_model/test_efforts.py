"""Efforts: blocks without attention, and the gate that lets certain pictures go."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from golden_model import vit
from golden_model.units.entropy_gate import gate_sums, is_certain, log2
from golden_model.vit import answer
from spec.efforts import Effort
from spec.formats import GATE
from spec.model_file import Model
from tests.random_models import CONFIGS, random_images, random_model

UNIT = 2.0**-10 * np.log2(np.e) * 2**7
"""From logits in units of 2**-10 to the gate's."""
SCALE = (round(UNIT * 2**18), 18)


def entropy(logits):
    """In bits, of real softmax over logits in units of 2**-10."""
    p = np.exp((logits - logits.max(axis=-1, keepdims=True)) * 2.0**-10)
    p /= p.sum(axis=-1, keepdims=True)
    return -(p * np.log2(np.where(p > 0, p, 1))).sum(axis=-1)


def random_logits(classes, spread, peak, seed, count=200):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (count, classes))
    logits[:, 0] += rng.uniform(0, peak, count)
    return np.clip(np.rint(logits * 2**10), -(2**15), 2**15 - 1).astype(np.int16)


def test_log2():
    x = np.arange(1, 1 << 20)
    worst = np.abs(log2(x) / 2**GATE.fraction_bits - np.log2(x)).max()
    assert 0.0102 < worst < 0.0103
    assert log2(2**35) == 35 << GATE.fraction_bits


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
@pytest.mark.parametrize("spread", [0.1, 0.5, 1, 2])
def test_entropy_is_within_its_bound(classes, spread):
    logits = random_logits(classes, spread, 12, seed=classes)
    total, weighted = gate_sums(logits, *SCALE)
    found = (log2(total) - GATE.unit) / 2**GATE.fraction_bits + weighted / (total * 2**7)
    assert np.abs(found - entropy(logits)).max() < 0.033


def test_the_gate_is_the_comparison_of_its_sums():
    logits = random_logits(10, 1, 12, seed=3)
    total, weighted = gate_sums(logits, *SCALE)
    for threshold in (0, 10, 100, 700, 1500, 3400):
        found = is_certain(logits, *SCALE, threshold)
        wanted = [
            Fraction(t, s) / 2**7 * 2**10 <= threshold + GATE.unit - int(log2(s))
            for s, t in zip(total.tolist(), weighted.tolist(), strict=True)
        ]
        assert found.tolist() == wanted
        assert found.sum() > 0 or threshold == 0
    assert is_certain(logits, *SCALE, 3500).all()


def with_efforts(name, *efforts):
    model = random_model(CONFIGS[name])
    gate = {"gate.mult": np.array([SCALE[0]], np.uint16), "gate.shift": np.array([18], np.uint8)}
    tensors = {**model.tensors, **(gate if len(efforts) > 1 else {})}
    return Model(config=replace(model.config, efforts=efforts), tensors=tensors)


def test_a_skipped_block_adds_only_its_mlp():
    model, images = with_efforts("wide", Effort(skipped=(1,))), random_images(CONFIGS["wide"], 4)
    seen = {}
    vit(model, images, seen.__setitem__)
    blocks = {n: [name for name in seen if name.startswith(f"blocks.{n}.")] for n in range(3)}
    assert blocks[1] == ["blocks.1.norm2", "blocks.1.mlp.fc1", "blocks.1.mlp.fc2"]
    assert len(blocks[0]) == len(blocks[2]) == 11


@pytest.mark.parametrize("name", CONFIGS)
def test_each_image_has_the_logits_of_its_last_effort(name):
    config = CONFIGS[name]
    images = random_images(config, 40)
    every = tuple(range(config.depth - 1))
    low, high = with_efforts(name, Effort(skipped=every)), with_efforts(name, Effort())
    first, last = vit(low, images), vit(high, images)
    total, weighted = gate_sums(first, *SCALE)
    entropies = (log2(total) - GATE.unit) + 8 * weighted / total
    threshold = int(np.median(entropies))
    both = with_efforts(name, Effort(skipped=every, threshold=threshold), Effort())
    seen = {}
    found = answer(both, images, seen.__setitem__)
    easy = is_certain(first, *SCALE, threshold)
    assert 0 < easy.sum() < len(images)
    assert (found.effort == ~easy).all()
    assert (found.logits == np.where(easy[:, None], first, last)).all()
    assert (found.logits == vit(both, images)).all()
    assert (seen["efforts.1.head"] == last[~easy]).all()
    alone = [answer(both, images[n : n + 1]).effort[0] for n in range(6)]
    assert alone == found.effort[:6].tolist()


def test_without_efforts_there_is_one():
    config = CONFIGS["small"]
    model, images = random_model(config), random_images(config, 3)
    found = answer(model, images)
    assert (found.logits == vit(model, images)).all()
    assert not found.effort.any()
