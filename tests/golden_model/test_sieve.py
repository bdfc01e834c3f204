"""Images with stages, in groups of equally many tokens, against one image at a time."""

from dataclasses import replace

import numpy as np
import pytest

from cli.options import load_model
from golden_model import vit
from golden_model.sieve import sieve
from quantize.datasets import sample
from quantize.stages import force_keep, with_stages
from spec.model_file import Stage

IMAGES = sample("models/sample.safetensors").images[:24]


def staged(package, packages):
    dense = load_model("demo")
    dense = replace(dense, config=replace(dense.config, package=package, packages=packages))
    stages = (
        Stage(block=1, rule="selector"),
        Stage(block=2, rule="cls_attention"),
        Stage(block=3, rule="selector"),
    )
    return force_keep(with_stages(dense, stages, IMAGES[:1]), IMAGES[0], (0.7, 0.4, 0.2))


@pytest.mark.parametrize(
    ("package", "packages"),
    [("weighted", "merged"), ("weighted", "each"), ("mean", "merged"), ("none", "merged")],
)
def test_groups_change_nothing(package, packages):
    model = staged(package, packages)
    found = sieve(model, IMAGES, workers=1)
    assert len(np.unique(found.left, axis=0)) > 5
    for number, image in enumerate(IMAGES):
        seen = {}
        logits = vit(model, image[None], seen.__setitem__)
        assert (logits[0] == found.logits[number]).all()
        origin = np.arange(model.config.tokens)
        for stage, each in enumerate(model.config.stages):
            keep = seen[f"blocks.{each.block}.selector.kept"][0]
            rows = seen[f"blocks.{each.block}.selector.tokens"].shape[1]
            assert found.left[number, stage] == rows
            first = found.first[number, stage]
            assert first == (-1 if keep.all() else np.flatnonzero(~keep)[0])
            origin = np.append(origin[keep], [-1] * (rows - keep.sum()))
            alive = np.flatnonzero(found.alive[number, stage])
            assert alive.tolist() == sorted(origin[origin >= 0].tolist())


def test_a_dense_model_and_no_images():
    dense = load_model("demo")
    found = sieve(dense, IMAGES)
    assert (found.logits == vit(dense, IMAGES)).all()
    assert found.left.shape == (24, 0)
    assert (found.predictions == found.logits.argmax(axis=1)).all()
    assert sieve(staged("weighted", "merged"), IMAGES[:0]).left.shape == (0, 3)


def test_chunks_change_nothing(monkeypatch):
    model, told = staged("weighted", "merged"), []
    whole = sieve(model, IMAGES)
    monkeypatch.setattr("golden_model.sieve.CHUNK_IMAGES", 7)
    parts = sieve(model, IMAGES, told.append)
    assert told == [7, 7, 7, 3]
    assert all((vars(whole)[name] == vars(parts)[name]).all() for name in vars(whole))
