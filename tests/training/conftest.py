"""What the training tests share: a tiny synthetic data set and a recipe that fits it."""

from dataclasses import replace

import numpy as np
import pytest

from training.datasets import DataSet, Labelled


def random_split(rng: np.random.Generator, count: int) -> Labelled:
    """Noise whose brightness tells the class."""
    labels = rng.integers(0, 10, count, dtype=np.uint8)
    noise = rng.integers(0, 40, (count, 12, 12), dtype=np.uint8)
    return Labelled(images=noise + 20 * labels[:, None, None], labels=labels)


def random_data(count: int) -> DataSet:
    """Images of 12x12: `count` to train on, 20 held back, 20 of test."""
    rng = np.random.default_rng(7)
    train, held_back, test = (random_split(rng, number) for number in (count, 20, 20))
    return DataSet(train=train, held_back=held_back, test=test)


@pytest.fixture
def data() -> DataSet:
    """A hundred images to train on."""
    return random_data(100)


@pytest.fixture
def recipe():
    """The `micro` recipe with every kind of augmentation and three short epochs, on one thread."""
    torch = pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")
    from training.recipe import RECIPES

    torch.set_num_threads(1)
    return replace(
        RECIPES["micro"],
        epochs=3,
        warmup_epochs=1,
        batch_size=32,
        label_smoothing=0.1,
        drop_path=0.2,
        shift_pixels=1,
        erase=0.3,
        mixup=0.3,
        cutmix=0.3,
    )
