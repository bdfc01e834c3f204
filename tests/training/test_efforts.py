"""Training one set of weights for several efforts."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

from quantize import float_forward, load_float, quantize_model  # noqa: E402
from quantize.float_model import FloatModel  # noqa: E402
from spec.model_config import Effort, ModelConfig  # noqa: E402
from tests.training.conftest import random_data  # noqa: E402
from tests.training.test_fine_tuning import random_model  # noqa: E402
from tests.training.test_train import read_tensors, train_interrupted  # noqa: E402
from training.efforts import entropy_pressure  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.recipe import RECIPES, FineTuning  # noqa: E402
from training.train import train  # noqa: E402
from training.trainer import Trainer  # noqa: E402


@pytest.fixture(scope="module")
def data():
    torch.set_num_threads(1)
    return random_data(256)


def recipe_with(**fields):
    recipe = replace(RECIPES["micro-effort"], epochs=2, batch_size=64, bf16=False)
    assert recipe.fine_tuning is not None
    return replace(recipe, fine_tuning=replace(recipe.fine_tuning, **fields))


@pytest.mark.parametrize("skipped", [(0,), (1, 2), (0, 1, 2)])
def test_skipping_is_that_of_the_float_reference(skipped):
    model, twin = random_model({}, False)
    config: ModelConfig = replace(twin.config, efforts=(Effort(skipped=skipped),))
    alone = FloatModel(config=config, parameters=twin.parameters, mean=twin.mean, std=twin.std)
    pixels = np.random.default_rng(1).integers(0, 256, (6, 12, 12), dtype=np.uint8)
    images = ((torch.from_numpy(pixels).float() / 255 - 0.3) / 0.4)[:, None]
    with torch.no_grad():
        got = model.trace(images, skipped=skipped)[0].numpy()
        whole = model(images).numpy()
    assert np.abs(got - float_forward(alone, pixels)).max() < 1e-4
    assert np.abs(got - whole).max() > 1e-3, "the test sees nothing"


def test_entropy_pressure_is_accuracy_times_entropy():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.4, 0.0]], requires_grad=True)
    targets = torch.tensor([[0.9, 0.1, 0.0], [0.0, 1.0, 0.0]])
    p = np.exp(logits.detach().numpy())
    p /= p.sum(axis=1, keepdims=True)
    entropy = -(p * np.log(p)).sum(axis=1).mean()
    loss = entropy_pressure(logits, targets)
    assert loss.item() == pytest.approx(0.5 * entropy, rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] < 0, "the largest logit is to grow"
    assert entropy_pressure(logits, targets.flip(1)).item() == 0


def test_a_step_is_the_mean_over_the_efforts(data):
    """The high effort imitates the start, the low one the high one."""
    recipe = recipe_with(entropy_weight=0.0, distill_weight=1.0)
    trainer = Trainer(replace(recipe, flip=0.0, mixup=0.0, cutmix=0.0, erase=0.0), data)
    batch = torch.arange(64)
    images = ((trainer.images[batch].float() / 255 - recipe.mean) / recipe.std)[:, None]
    with torch.no_grad():
        low, high = (
            trainer.model.trace(images, skipped=effort.skipped)[0].log_softmax(1)
            for effort in recipe.model.efforts
        )
        assert trainer.teacher is not None
        wanted = trainer.teacher(images).log_softmax(1)
    expected = [(b.exp() * (b - a)).sum(1).mean() for a, b in ((high, wanted), (low, high))]
    assert expected[0].abs() < 1e-6 < expected[1], "before the first step, start and high are one"
    assert trainer._run_step(0, batch) == pytest.approx(float(sum(expected)) / 2, rel=1e-4)


def test_another_model_can_be_the_teacher(data):
    trainer = Trainer(recipe_with(teacher="micro-relu"), data)
    assert trainer.teacher is not None
    assert trainer.teacher.config.activation == "relu"
    assert trainer.model.config.activation == "gelu"
    with pytest.raises(TrainingError, match="no bundled model 'nothing'"):
        Trainer(recipe_with(teacher="nothing"), data)


def test_a_resumed_run_equals_an_uninterrupted_one(data, tmp_path):
    recipe = recipe_with()
    whole, resumed = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    records = []
    train(recipe, whole, data=data, compile_model=False, progress=records.append)
    assert all(len(record.efforts) == 2 for record in records)
    assert [record.held_back_top1 for record in records] == [r.efforts[-1] for r in records]
    train_interrupted(recipe, resumed, data, 1)
    train(recipe, resumed, data=data, compile_model=False)
    first, second = read_tensors(whole), read_tensors(resumed)
    assert all(first[name].equal(second[name]) for name in first)


def test_the_trained_file_names_its_efforts(data, tmp_path):
    path = tmp_path / "out.safetensors"
    recipe = RECIPES["micro-effort"]
    train(recipe, path, data=data, compile_model=False, epochs=1)
    model = load_float(path)
    assert model.config.efforts == recipe.model.efforts
    quantized = quantize_model(model, data.held_back.images)
    assert quantized.config.efforts == recipe.model.efforts
    assert "gate.mult" in quantized.tensors


def test_efforts_need_a_start():
    with pytest.raises(TrainingError, match="efforts need fine_tuning"):
        replace(RECIPES["micro-effort"], fine_tuning=None)
    assert FineTuning(start="micro").entropy_weight == 0
