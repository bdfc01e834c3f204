"""Named models with stages: how many tokens are left, and what their names may say."""

from dataclasses import replace

import numpy as np
import pytest

from cli.options import load_model
from golden_model import vit
from quantize.datasets import sample
from quantize.errors import QuantizeError
from quantize.named import named_counts, named_shape, quantized_named
from quantize.pictures import random_pictures
from quantize.stages import force_keep, kept_counts, with_stages
from spec.model_file import Stage, load, save

NAME = "deit_tiny_patch16_224:4+cls1:0.7+2:0.39+3:0.21"


def dense_micro():
    return load_model("micro"), sample("models/sample.safetensors", 12).images


def stages_of(*blocks, rule="selector"):
    return tuple(Stage(block=block, rule=rule) for block in blocks)


def counts(model, image):
    """Tokens behind each stage, and the scores before."""
    seen = {}
    vit(model, image[None], seen.__setitem__)
    names = [f"blocks.{stage.block}.selector" for stage in model.config.stages]
    left = tuple(seen[f"{name}.tokens"].shape[1] for name in names)
    return left, [seen[f"{name}.score"][0] for name in names]


def test_a_named_model_keeps_the_shares_of_its_name():
    model = quantized_named(NAME)
    rules = [(stage.block, stage.rule) for stage in model.config.stages]
    assert rules == [(1, "cls_attention"), (2, "selector"), (3, "selector")]
    left, scores = counts(model, random_pictures(model.config, 1, 0)[0])
    # one CLS, round(share * 196) patches, one package
    assert named_counts(NAME) == (139, 78, 43)
    assert np.abs(np.array(left) - named_counts(NAME)).max() <= 4
    assert all(len(np.unique(score)) > 30 for score in scores)
    assert [len(score) for score in scores] == [197, *left[:-1]]


def test_a_shape_needs_no_weights():
    shape = named_shape("deit_small_patch16_224+3:0.70+6:0.39+9:0.21")
    assert [stage.block for stage in shape.stages] == [3, 6, 9]
    assert named_counts("deit_small_patch16_224") == ()


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("+0:0.5", r"a stage's block must lie in 1\.\.11, not 0"),
        ("+12:0.5", r"a stage's block must lie in 1\.\.11, not 12"),
        (":3+3:0.5", r"a stage's block must lie in 1\.\.2, not 3"),
        ("+3", r"a stage is \+BLOCK:SHARE or \+clsBLOCK:SHARE.* not '\+3'"),
        ("+3:1.5", r"shares of 0\.\.1 that do not grow, not '\+3:1.5'"),
        ("+3:nan", r"shares of 0\.\.1 that do not grow"),
        ("+3:0.4+6:0.5", r"shares of 0\.\.1 that do not grow, not '\+6:0.5'"),
        ("+x:0.4", r"a stage is \+BLOCK:SHARE"),
        ("+6:0.5+3:0.4", r"blocks of stages must grow, not '\+3:0.4'"),
        ("+6:0.5+6:0.4", r"blocks of stages must grow"),
        (":+3:0.5", r"has 1\.\.12 blocks, not ''"),
    ],
)
def test_names_that_are_refused(stages, message):
    with pytest.raises(QuantizeError, match=message):
        named_shape(f"deit_tiny_patch16_224{stages}")


@pytest.mark.parametrize("rule", ["selector", "cls_attention"])
@pytest.mark.parametrize("packages", ["merged", "each"])
@pytest.mark.parametrize("package", ["weighted", "none"])
def test_stages_are_added_to_any_model(rule, package, packages, tmp_path):
    dense, images = dense_micro()
    dense = replace(dense, config=replace(dense.config, package=package, packages=packages))
    model = with_stages(dense, stages_of(1, rule=rule), images[:4])
    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.config == model.config
    for share in (0, 0.5, 1):
        forced = force_keep(model, images[7], [share])
        left, (score,) = counts(forced, images[7])
        threshold = forced.config.stages[0].threshold
        wanted = kept_counts(forced.config, [share])
        ties = int((score[1:] == threshold).sum())
        assert abs(left[0] - wanted[0]) <= max(ties - 1, 0)
        for name in dense.tensors:
            assert forced.tensors[name] is dense.tensors[name]


def test_counts():
    config = replace(load_model("demo").config, stages=stages_of(1, 2, 3))
    assert kept_counts(config, [1, 0.5, 0.5]) == (50, 26, 26)
    assert kept_counts(config, [0.5, 0.25, 0.25]) == (26, 14, 14)
    assert kept_counts(config, [0, 0, 0]) == (2, 2, 2)
    each = replace(config, packages="each")
    assert kept_counts(each, [0.5, 0.25, 0.25]) == (26, 15, 15)
    nothing = replace(config, package="none")
    assert kept_counts(nothing, [0.5, 0, 0]) == (25, 2, 2)


def test_what_cannot_be_forced():
    dense, images = dense_micro()
    model = with_stages(dense, stages_of(1), images[:1])
    with pytest.raises(QuantizeError, match="1 stages need as many ratios, not 2"):
        force_keep(model, images[0], [0.5, 0.2])
    with pytest.raises(QuantizeError, match="to a model without stages only"):
        with_stages(model, stages_of(1), images[:1])
