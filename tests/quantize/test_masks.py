"""Masks: pruning by ViTCoD's rule, its global tokens, and models that have them."""

from dataclasses import replace

import numpy as np
import pytest

from cli.options import load_model
from golden_model import vit
from quantize import float_forward, float_model_of, quantize_model
from quantize.datasets import sample
from quantize.errors import QuantizeError
from quantize.masks import (
    average_attention,
    global_tokens,
    kept_masks,
    mask_rows,
    prune_by_information,
    prune_to_sparsity,
    reordering,
    sparsity,
    with_masks,
)
from quantize.named import named_shape
from quantize.random_masks import VITCOD_FILE, published_masks
from spec.model_file import load, save


def images(count, size=12):
    return sample("models/sample.safetensors", size).images[:count]


def reference(row, information):
    """ViTCoD's `info_cutoff` for one query, as published; true where pruned."""
    count = len(row)
    ordered = sorted(row, reverse=True)
    total, taken = 0.0, 0
    while total < information and taken < count:
        total += ordered[taken]
        taken += 1
    rank = np.argsort(np.argsort(row, kind="stable"), kind="stable")
    return rank <= count - taken - 2


@pytest.mark.parametrize("information", [0.0, 0.2, 0.7, 2.0])
@pytest.mark.parametrize("prefix", [1, 2])
def test_pruning_is_the_reference_rule(information, prefix):
    maps = np.random.default_rng(0).dirichlet(np.full(12, 0.3), (2, 3, 12))
    kept = prune_by_information(maps, information, prefix)
    for place in np.ndindex(2, 3, 12):
        pruned = reference(maps[place], information)
        pruned[:prefix] = False
        if place[-1] < prefix:
            pruned[:] = False
        assert (kept[place] == ~pruned).all()
    if 0 < information < 1:
        assert 0.05 < sparsity(kept) < 0.95


def test_one_more_than_it_takes():
    """The reference keeps c + 1 where the sum of c reaches the threshold."""
    row = np.array([0.1, 0.5, 0.2, 0.15, 0.05])
    kept = prune_by_information(np.tile(row, (5, 1)), 0.6, 0)
    assert kept[0].tolist() == [False, True, True, True, False]


def test_the_published_masks():
    config = named_shape("deit_tiny_patch16_224")
    kept = published_masks(config)
    with np.load(VITCOD_FILE) as file:
        expected = file["global_tokens"].astype(int)
    assert expected.shape == (12, 3)
    assert (global_tokens(kept) == expected).all()
    assert round(sparsity(kept), 4) == 0.9467
    assert (expected == 1).sum() == 22
    assert expected.max() == 70
    assert kept[:, :, 0].all()
    assert kept[..., 0].all()
    with pytest.raises(QuantizeError, match="12 blocks, 3 heads and 197 tokens; the model has 2"):
        published_masks(load_model("micro").config)


def test_reordering_puts_global_tokens_in_front():
    rng = np.random.default_rng(2)
    kept = rng.random((197, 197)) < 0.1
    kept[:, [0, 40, 90]] = True
    order = reordering(kept)
    assert sorted(order) == list(range(197))
    assert order[:3].tolist() == [0, 40, 90]
    assert (order[40], order[90]) == (1, 2)
    assert global_tokens(kept) == 3
    assert kept[np.ix_(order, order)][:, :3].all()


@pytest.mark.parametrize("wanted", [0.0, 0.3, 0.6])
def test_sparsity_is_reached(wanted):
    maps = average_attention(float_model_of(load_model("micro")), images(16))
    assert np.allclose(maps.sum(axis=-1), 1)
    kept, information = prune_to_sparsity(maps, wanted, 1)
    assert wanted <= sparsity(kept) < wanted + 0.02
    assert (kept == prune_by_information(maps, information, 1)).all()


def test_what_cannot_be_pruned():
    maps = average_attention(float_model_of(load_model("micro")), images(4))
    with pytest.raises(QuantizeError, match=r"sparsity 0\.95 cannot be reached: .* it is 0\.7"):
        prune_to_sparsity(maps, 0.95, 1)
    with pytest.raises(QuantizeError, match="at least 0 and below 1, not 1"):
        prune_to_sparsity(maps, 1.0, 1)
    with pytest.raises(QuantizeError, match="at least one image"):
        average_attention(float_model_of(load_model("micro")), images(0))
    model = load_model("micro")
    with pytest.raises(QuantizeError, match=r"must be \[2, 2, 10, 10\], not \[1, 2"):
        with_masks(model, np.ones((1, 2, 10, 10), bool))
    empty = np.ones((2, 2, 10, 10), bool)
    empty[1, 0, 3] = False
    with pytest.raises(QuantizeError, match="block 1, head 0, query 3 keeps no key"):
        with_masks(model, empty)


def test_stages_and_masks_are_left_out_of_the_average():
    model = float_model_of(load_model("micro-all"))
    plain = replace(
        model, config=replace(model.config, masks=(), thresholds=False), kept={}, tau=()
    )
    assert (average_attention(model, images(8)) == average_attention(plain, images(8))).all()


def masked_micro():
    model = load_model("micro")
    kept, _ = prune_to_sparsity(average_attention(float_model_of(model), images(16)), 0.5, 1)
    return with_masks(model, kept), kept


def test_a_masked_model(tmp_path):
    model, kept = masked_micro()
    save(model, tmp_path / "masked.safetensors")
    again = load(tmp_path / "masked.safetensors")
    assert (kept_masks(again) == kept).all()
    assert again.config.masks == tuple(int(each.sum()) for each in kept)
    seen, real = {}, {}
    vit(again, images(8), seen.__setitem__)
    float_forward(float_model_of(again), images(8), real.__setitem__)
    for block in range(2):
        for found in (seen, real):
            assert (found[f"blocks.{block}.attn.probs"][:, ~kept[block]] == 0).all()
        assert (real[f"blocks.{block}.attn.probs"][:, kept[block]] > 0).all()
    error = np.abs(seen["head"] * again.scales["head"] - real["head"]).max()
    assert error < 0.6, "the integers follow the float model"
    dense = float_forward(float_model_of(load_model("micro")), images(8))
    assert np.abs(dense - real["head"]).max() > 1, "the mask changes nothing: the test sees nothing"


def test_a_block_that_keeps_all_has_no_mask():
    model, kept = masked_micro()
    kept[1] = True
    assert with_masks(model, kept).config.masks == (int(kept[0].sum()), 0)
    assert (kept_masks(with_masks(model, kept)) == kept).all()


def test_masked_floats_are_quantised_with_their_masks():
    model, kept = masked_micro()
    again = quantize_model(float_model_of(model), images(16))
    assert (kept_masks(again) == kept).all()


@pytest.mark.parametrize("packages", ["merged", "each"])
def test_masks_follow_the_tokens_that_are_left(packages):
    """With every token kept, stages change nothing; with some, floats and integers agree."""
    model = load_model("micro-tokens")
    config = replace(model.config, packages=packages)
    model = replace(model, config=config)
    kept, _ = prune_to_sparsity(average_attention(float_model_of(model), images(16)), 0.5, 1)
    masked = with_masks(model, kept)
    stages = tuple(replace(stage, threshold=0) for stage in config.stages)
    whole = replace(masked, config=replace(masked.config, stages=stages))
    dropped = {}
    for each in (masked, whole):
        real = float_forward(float_model_of(each), images(24))
        codes = vit(each, images(24)) * each.scales["head"]
        dropped[each.config.stages] = real
        assert (real.argmax(axis=1) == codes.argmax(axis=1)).mean() > 0.9
    some, every = dropped.values()
    assert np.abs(some - every).max() > 0.5


def test_rows_of_a_report():
    model, kept = masked_micro()
    rows = mask_rows(kept_masks(model))
    assert [row["block"] for row in rows] == [0, 1]
    sizes = [
        model[f"blocks.{n}.attn.mask.pointers"].nbytes
        + model[f"blocks.{n}.attn.mask.indices"].nbytes
        for n in range(2)
    ]
    assert [row["file_bytes"] for row in rows] == sizes
    assert rows[0]["bitmap_bytes"] == 25
    assert rows[0]["keys_a_query"]["max"] == kept[0][:, 1:].sum(axis=-1).max()
