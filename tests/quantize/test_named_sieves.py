"""Named models with masks and with ReLU's zeros."""

import numpy as np
import pytest

from cli.options import load_dataset
from golden_model import vit
from quantize.errors import QuantizeError
from quantize.force_zeros import force_zeros
from quantize.masks import kept_masks, sparsity
from quantize.named import is_named, named_counts, named_masks, named_shape, quantized_named
from quantize.random_masks import published_masks, random_masks

TINY = "deit_tiny_patch16_224"


def test_masks_of_a_name():
    name = f"{TINY}:2~vitcod"
    model = quantized_named(name)
    assert (kept_masks(model) == published_masks(model.config)).all()
    assert named_shape(name) == model.config
    assert model.config.masks == (8176, 2713)
    assert named_masks(TINY) is None


def test_everything_in_one_name():
    name = f"{TINY}:3~0.90~relu0.6+cls2:0.5"
    assert is_named(name)
    model = quantized_named(name)
    assert named_counts(name) == (100,)
    assert named_shape(name).masks == model.config.masks
    assert model.config.masks[1] == 0, "the attention of CLS decides behind this block"
    assert sparsity(kept_masks(model)[0]) == pytest.approx(0.9, abs=1e-4)
    image = load_dataset("random", "test", model.config, 1).images
    seen = {}
    vit(model, image, seen.__setitem__)
    for block in range(2):
        zeros = (seen[f"blocks.{block}.mlp.fc1"] == 0).mean(axis=(0, 1))
        assert zeros == pytest.approx(0.6, abs=0.01)
    assert (seen["blocks.2.mlp.fc1"] == 0).mean() == pytest.approx(0.6, abs=0.05)


def test_names_in_any_order():
    shape = named_shape(f"{TINY}:3~0.90+2:0.5")
    assert named_shape(f"{TINY}:3+2:0.5~0.90") == shape
    assert named_shape(f"{TINY}~0.90:3+2:0.5") == shape


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{TINY}~", "masks are ~vitcod or ~SHARE, ReLU is ~reluSHARE"),
        (f"{TINY}~1.5", "not '~1.5'"),
        (f"{TINY}~relu", "not '~relu'"),
        (f"{TINY}~0.9~vitcod", "each once"),
        (f"{TINY}~relu0.5~relu0.6", "each once"),
        (f"{TINY}~0.99", r"a random mask's sparsity must lie in 0\.\.0\.970, not 0\.99"),
        ("deit_small_patch16_224~vitcod", "12 blocks, 3 heads and 197 tokens; the model has 12, 6"),
    ],
)
def test_names_that_are_refused(name, message):
    with pytest.raises(QuantizeError, match=message):
        named_shape(name)


def test_random_masks():
    config = named_shape("deit_small_patch16_224:2")
    kept = random_masks(config, 0.9, seed=3)
    assert (kept.sum(axis=(-2, -1)) == round(0.1 * 197**2)).all()
    assert kept[:, :, 0].all()
    assert kept[..., 0].all()
    assert (random_masks(config, 0.9, seed=3) == kept).all()
    assert (random_masks(config, 0.9, seed=4) != kept).any()
    one = named_shape("deit_small_patch16_224:1")
    assert (random_masks(one, 0.9, seed=3)[0] == kept[0]).all()
    # near keys are kept more often than far ones
    rows = np.arange(196) // 14
    near = np.abs(rows[:, None] - rows[None]) <= 1
    inner = kept[..., 1:, 1:]
    assert inner[..., near].mean() > 2 * inner[..., ~near].mean()
    both = random_masks(named_shape("deit_tiny_distilled_patch16_224:1"), 0.9)
    assert both[..., :2].all()
    assert both[..., :2, :].all()


def test_zeros_need_relu():
    model = quantized_named(f"{TINY}:1")
    with pytest.raises(QuantizeError, match="behind ReLU only"):
        force_zeros(model, np.zeros((3, 224, 224), np.uint8), 0.5)
    with pytest.raises(QuantizeError, match="at least 0 and below 1, not 1"):
        force_zeros(quantized_named(f"{TINY}:1~relu0.5"), np.zeros((3, 224, 224), np.uint8), 1)
