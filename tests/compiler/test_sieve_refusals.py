"""Models with masks or thresholds that a machine cannot run: one line that says why."""

import dataclasses

import pytest

from compiler import CompileError, compile
from spec.presets import PRESETS, preset
from tests.random_models import random_model
from tests.shapes import SHAPES, model_of
from tests.sieved_models import masked, with_thresholds
from tests.tiled_models import machine_of, selecting
from tests.tiled_models import model_of as tiled_model

TINY = preset("tiny")
SIEVES = ("zero_skip", "attention_masks", "thresholds")


def refusal(model, config):
    with pytest.raises(CompileError) as error:
        compile(model, config)
    return str(error.value)


@pytest.mark.parametrize("name", PRESETS)
def test_machines_without_a_sieve(name):
    config, model = preset(name), model_of("demo")
    thresholds = with_thresholds(model)
    thresholds.tensors["blocks.0.thresholds"][:] = 0
    lacking = dataclasses.replace(config, name="plain", **dict.fromkeys(SIEVES, False))
    assert refusal(thresholds, lacking) == (
        "blocks.1.thresholds: needs thresholds, preset 'plain' has none (thresholds=on)"
    )
    alone = ", head_groups=1" if config.head_groups > 1 else ""
    assert refusal(masked(model, blocks=[2]), lacking) == (
        "blocks.2.attn.mask: needs attention_masks, preset 'plain' has none "
        f"(attention_masks=on{alone})"
    )


def test_pairs_with_too_many_steps():
    small = dataclasses.replace(TINY, name="small", score_words=16, prob_words=16)
    assert refusal(masked(model_of("demo"), share=0.9), small) == (
        "blocks.0.attn.mask: head 0, queries 0 and 1: needs 23 steps of kept scores for a pair, "
        "preset 'small' has 16 (score_words and prob_words)"
    )


def test_more_tokens_than_places():
    small = dataclasses.replace(TINY, name="small", banks=1, score_lanes=1, score_words=128)
    small = dataclasses.replace(small, prob_words=128, row_words=4096)
    model = masked(tiled_model("odd depth"))
    compile(model, small)
    shape = dataclasses.replace(SHAPES["micro"], image_size=32)
    assert shape.tokens == 65
    assert refusal(masked(random_model(shape, outliers=False, images=2)), small) == (
        "blocks.0.attn.mask: needs 65 places of keys in a bank for 65 tokens, the instruction set "
        "has 64 (banks 1)"
    )


def test_token_memory_too_small_for_lists():
    model = masked(tiled_model("even depth"))
    assert refusal(model, machine_of({"token_words": 90})) == (
        "blocks.0.attn: needs 848 bytes of token memory, preset 'cramped' has 720 (token_words)"
    )
    # tiles of one row beside what attention needs
    assert refusal(model, machine_of({"token_words": 112})) == (
        "blocks.0: needs 944 bytes of token memory, preset 'cramped' has 896 (token_words)"
    )


def test_selections_by_cleared_probabilities():
    model = selecting("odd depth", "cls_attention")
    model = with_thresholds(model)
    model.tensors["blocks.0.thresholds"][4] = 9
    assert refusal(model, TINY) == (
        "blocks.0.thresholds: probs must be 0, not 9: rule cls_attention before block 1 needs all "
        "probabilities of the block before"
    )
