"""Resuming, the written file, and checkpoints that must be refused."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

from safetensors import safe_open

from training.errors import TrainingError
from training.recipe import recipe_named
from training.train import train


class InterruptedRunError(Exception):
    """Ends a run from its progress callback, as a key press would."""


def train_interrupted(recipe, out_path, data, after_epoch):
    """Train until `after_epoch` has been checkpointed."""

    def stop(record):
        if record.epoch == after_epoch:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train(recipe, out_path, data=data, compile_model=False, progress=stop)


def read_tensors(path):
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("after_epoch", [1, 2])
def test_resumed_run_equals_uninterrupted_one(tmp_path, data, recipe, bf16, after_epoch):
    recipe = replace(recipe, bf16=bf16)
    whole, resumed = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    records = []
    train(recipe, whole, data=data, compile_model=False)
    train_interrupted(recipe, resumed, data, after_epoch)
    train(recipe, resumed, data=data, compile_model=False, progress=records.append)

    assert [record.epoch for record in records] == list(range(after_epoch + 1, 4))
    expected, got = read_tensors(whole), read_tensors(resumed)
    assert expected.keys() == got.keys()
    assert [name for name in expected if not expected[name].equal(got[name])] == []


def test_without_resume_starts_again(tmp_path, data, recipe):
    out_path, records = tmp_path / "out.safetensors", []
    train_interrupted(recipe, out_path, data, 2)
    train(recipe, out_path, data=data, compile_model=False, resume=False, progress=records.append)
    assert [record.epoch for record in records] == [1, 2, 3]


def test_file_has_float32_weights_and_metadata(tmp_path, data, recipe):
    out_path = tmp_path / "out.safetensors"
    train(recipe, out_path, data=data, compile_model=False, epochs=2)
    assert {str(tensor.dtype) for tensor in read_tensors(out_path).values()} == {"torch.float32"}
    with safe_open(out_path, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["recipe"])["epochs"] == 2
    assert json.loads(metadata["config"])["embed_dim"] == 16
    assert (metadata["mean"], metadata["std"]) == ("0.286", "0.353")
    assert (metadata["epochs"], metadata["seed"]) == ("2", "0")
    assert 0 <= float(metadata["top1_held_back"]) <= 1
    assert 0 <= float(metadata["top1_test"]) <= 1
    assert [record["epoch"] for record in json.loads(metadata["history"])] == [1, 2]


def test_learns(tmp_path, data, recipe):
    records = []
    plain = replace(recipe, drop_path=0.0, erase=0.0, mixup=0.0, cutmix=0.0, label_smoothing=0.0)
    train(
        plain,
        tmp_path / "out.safetensors",
        data=data,
        compile_model=False,
        epochs=40,
        progress=records.append,
    )
    assert records[-1].train_loss < 0.6 * records[0].train_loss


def test_checkpoint_of_another_recipe_is_refused(tmp_path, data, recipe):
    out_path = tmp_path / "out.safetensors"
    train_interrupted(recipe, out_path, data, 1)
    with pytest.raises(TrainingError, match="checkpoint of another recipe; delete it or train"):
        train(replace(recipe, seed=1), out_path, data=data, compile_model=False)


def test_damaged_checkpoint_is_refused(tmp_path, data, recipe):
    out_path = tmp_path / "out.safetensors"
    (tmp_path / "out.safetensors.checkpoint").write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match=r"out\.safetensors\.checkpoint: not a checkpoint"):
        train(recipe, out_path, data=data, compile_model=False)


def test_batch_larger_than_data_is_refused(tmp_path, data, recipe):
    with pytest.raises(TrainingError, match="batch_size 101 is more than the 100 images"):
        train(replace(recipe, batch_size=101), tmp_path / "out", data=data, compile_model=False)


def test_unknown_recipe():
    with pytest.raises(TrainingError, match=r"recipe must be one of demo, .*, not 'macro'"):
        recipe_named("macro")


def test_epochs_within_warmup_are_refused(recipe):
    with pytest.raises(TrainingError, match="epochs must be more than the 1 of warm-up, not 1"):
        replace(recipe, epochs=1)
