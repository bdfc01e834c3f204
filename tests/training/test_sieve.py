"""Both phases of a recipe with token selectors, and the search for its stages."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

import torch

from quantize import load_float, quantize_model
from spec.model_config import Stage
from tests.training.conftest import random_data
from training.errors import TrainingError
from training.recipe import RECIPES, Sieve
from training.search import search_recipe
from training.train import read_float, train
from training.trainer import Trainer

TOKENS = RECIPES["micro-tokens"]


@pytest.fixture(scope="module")
def data():
    """As many images as one batch of the recipes."""
    torch.set_num_threads(1)
    return random_data(256)


def run(recipe, path, data, **fields):
    return train(recipe, path, data=data, compile_model=False, **fields)


def same(first, second):
    """Whether parameters are the same bit for bit."""
    return first.keys() == second.keys() and all(first[name].equal(second[name]) for name in first)


def test_both_phases_from_the_recipe(tmp_path, data):
    out, records = tmp_path / "tokens.safetensors", []
    run(TOKENS, out, data, epochs=2, progress=records.append)
    assert [len(record.keep) for record in records] == [0, 0, 3, 3]
    dense = tmp_path / "micro-deep-float.safetensors"
    first = read_float(out)[1]
    assert json.loads(read_float(dense)[0]["recipe"])["name"] == "micro-deep"

    records.clear()
    out.with_name(out.name + ".checkpoint").unlink()
    run(TOKENS, out, data, epochs=2, progress=records.append)
    assert [len(record.keep) for record in records] == [3, 3], "the dense model was there"
    assert same(read_float(out)[1], first)
    records.clear()
    run(TOKENS, out, data, epochs=2, progress=records.append, resume=False)
    assert len(records) == 4
    assert same(read_float(out)[1], first), "the same recipe and seed give the same weights"

    model = load_float(out)
    assert model.config.stages == TOKENS.model.stages
    quantized = quantize_model(model, data.held_back.images)
    assert quantized.config.stages == TOKENS.model.stages


def test_a_resumed_sieve_equals_an_uninterrupted_one(tmp_path, data):
    dense = tmp_path / "dense.safetensors"
    run(RECIPES["micro-deep"], dense, data, epochs=1)
    tokens = replace(TOKENS, epochs=3, warmup_epochs=1)
    run(tokens, tmp_path / "whole", data, dense=dense)

    def stop(record):
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tokens, tmp_path / "parts", data, dense=dense, progress=stop)
    run(tokens, tmp_path / "parts", data, dense=dense)
    assert same(*(read_float(tmp_path / name)[1] for name in ("whole", "parts")))


def test_keep_ratios_follow_their_targets(data):
    """Images that are all alike in kind: the loss on ratios alone decides."""
    sieve = replace(TOKENS.sieve, keep=(0.8, 0.5, 0.2), ratio_weight=20.0)
    recipe = replace(TOKENS, epochs=120, warmup_epochs=1, sieve=sieve, learning_rate=1e-2)
    dense = Trainer(replace(RECIPES["micro-deep"], epochs=3), data).model.state_dict()
    trainer = Trainer(recipe, data, dense=dense)
    assert trainer.evaluate(data.train)[1][0] > 0.95, "at first nearly all are kept"
    for _ in range(120):
        trainer.run_epoch()
    found = trainer.evaluate(data.train)[1]
    assert found == pytest.approx((0.8, 0.5, 0.2), abs=0.12)


def test_search_ends_in_a_recipe_with_its_stages(tmp_path, data):
    table = tmp_path / "table.json"
    entries = {"keep": [1.0, 0.5], "block_cycles": [1000, 500], "fixed_cycles": 100}
    table.write_text(json.dumps(entries))
    dense = tmp_path / "dense.safetensors"
    run(RECIPES["micro-deep"], dense, data, epochs=1)
    lines = []
    found, start = search_recipe(
        replace(TOKENS, bf16=False),
        tmp_path / "out.safetensors",
        table,
        3000,
        accuracy_drop=1.0,
        step_images=128,
        dense=dense,
        data=data,
        compile_model=False,
        tell=lines.append,
    )
    assert start == dense
    assert found.model.stages == tuple(
        Stage(block=stage.block, rule="selector") for stage in found.model.stages
    )
    assert len(found.sieve.keep) == len(found.model.stages) > 0
    assert min(found.sieve.keep) >= 0.5
    assert lines[0].startswith("dense: 4,100 cycles")
    metadata = run(found, tmp_path / "out.safetensors", data, dense=dense, epochs=1)
    assert json.loads(metadata["config"])["stages"] == [vars(s) for s in found.model.stages]

    with pytest.raises(TrainingError, match="recipe micro has no token selectors to insert"):
        search_recipe(RECIPES["micro"], tmp_path / "out", table, 3000, data=data)
    with pytest.raises(TrainingError, match="the dense model needs no more; train micro-deep"):
        search_recipe(TOKENS, tmp_path / "out", table, 9000, dense=dense, data=data)


def test_bad_sieves_are_refused(data):
    with pytest.raises(TrainingError, match="keep must not grow from stage to stage"):
        Sieve(dense="micro-deep", keep=(0.5, 0.6))
    with pytest.raises(TrainingError, match=r"keep must be shares in 0\.\.1"):
        Sieve(dense="micro-deep", keep=(0.0,))
    with pytest.raises(TrainingError, match=r"sieve\.keep must have a share for each of 3 stages"):
        replace(TOKENS, sieve=Sieve(dense="micro-deep", keep=(0.5,)))
    with pytest.raises(TrainingError, match="recipe micro-tokens needs a trained dense model"):
        Trainer(TOKENS, data)
    dense = Trainer(replace(RECIPES["micro"], epochs=3), data).model.state_dict()
    with pytest.raises(TrainingError, match=r"dense model has another shape: .*blocks\.2"):
        Trainer(TOKENS, data, dense=dense)
    with pytest.raises(TrainingError, match="not a float model"):
        train(TOKENS, "out", data=data, dense=__file__)
