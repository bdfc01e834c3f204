import dataclasses

import numpy as np
import pytest

from compiler import CompileError, compile, compile_steps, model_digest
from compiler.packing import HeadPacking
from compiler.verification import verify
from spec.assembler import decode
from spec.image import ALIGNMENT_BYTES
from spec.isa import Opcode
from spec.presets import preset
from spec.semaphores import Semaphore
from tests.random_models import random_model
from tests.shapes import HOLDING, SHAPES, model_of

TINY = preset("tiny")


def model_with(name, **changes):
    return random_model(dataclasses.replace(SHAPES[name], **changes), outliers=False)


@pytest.mark.parametrize("config", HOLDING.values(), ids=HOLDING)
@pytest.mark.parametrize("name", SHAPES)
def test_programs_verify(name, config):
    steps = compile_steps(model_of(name), config)
    image = steps.image
    assert [decode(word.tobytes()) for word in image.program] == steps.schedule.instructions
    assert steps.schedule.instructions[-1].opcode == Opcode.HALT
    assert image.config_digest == config.digest()
    assert len(image.weights) == steps.allocation.weights_bytes
    assert len(image.weights) % ALIGNMENT_BYTES == 0
    for op in steps.schedule.instructions:
        assert op.fields.get("offset", 0) % ALIGNMENT_BYTES == 0
    for entry in image.tensors.values():
        covered = np.zeros(entry.shape, np.int64).reshape((-1, *(1, *entry.shape)[-2:]))
        for part in entry.parts:
            rows = slice(part.row, part.row + part.rows)
            channels = slice(part.channel, part.channel + part.count)
            covered[max(part.plane, 0), rows, channels] += 1
        assert (covered == 1).all()


def test_deterministic():
    one, two = (compile(model_of("micro"), TINY) for _ in range(2))
    assert np.array_equal(one.program, two.program)
    assert np.array_equal(one.weights, two.weights)
    assert one.model_digest == two.model_digest


def test_model_digest_follows_the_tensors():
    model = model_of("micro")
    weight = model["head.weight"].copy()
    weight[0, 0] ^= 1
    other = dataclasses.replace(model, tensors={**model.tensors, "head.weight": weight})
    assert model_digest(model) != model_digest(other)


def test_describe():
    text = compile_steps(model_of("five_tokens"), TINY).describe()
    for words in (
        "blocks.1.mlp.fc2         fc2    hidden->residual depth 37, 3 blocks, 20 columns",
        "residual  5 rows x 6 words",
        "weight ring, 50 blocks",
        "token_wait=NORMALIZED  ; blocks.0.attn.qkv",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("lanes", "heads", "head_dim", "groups", "head_words", "depth"),
    [(64, 2, 32, 1, 1, 64), (8, 2, 32, 2, 4, 64), (8, 2, 10, 2, 2, 26), (16, 3, 5, 2, 1, 21)],
)
def test_packing(lanes, heads, head_dim, groups, head_words, depth):
    packing = HeadPacking(lanes=lanes, heads=heads, head_dim=head_dim)
    assert (packing.groups, packing.head_words) == (groups, head_words)
    channels = packing.context_channels()
    assert len(channels) == depth
    assert channels[channels >= 0].tolist() == list(range(heads * head_dim))
    for head in range(heads):
        word = head // packing.heads_per_group * head_words
        at = word * lanes + packing.first_lane(head)
        assert channels[at] == head * head_dim


@pytest.mark.parametrize(
    ("config", "model", "text"),
    [
        (
            {"row_words": 7},
            {},
            "blocks.0.attn.qkv: needs 320 bytes of row memory, preset 'small' has 224 (row_words)",
        ),
        (
            {"token_words": 49},
            {},
            "blocks.0.attn: needs 400 bytes of token memory, preset 'small' has 392 (token_words)",
        ),
        (
            {"token_words": 60, "norm_tables": 2},
            {},
            "blocks.0.norm2: needs 4 LayerNorm tables for norm2 and norm1 in turn, preset 'small' "
            "has 2 (norm_tables)",
        ),
        (
            {"score_words": 2},
            {},
            "blocks.0.attn: needs 10 tokens, preset 'small' has 8 (score_words and prob_words)",
        ),
        (
            {"max_head_dim": 4},
            {},
            "blocks.0.attn: needs 8 channels a head, preset 'small' has 4 (max_head_dim)",
        ),
        (
            {"norm_tables": 1},
            {},
            "blocks.0.norm1: needs 2 LayerNorm tables, preset 'small' has 1 (norm_tables)",
        ),
        (
            {},
            {"mlp_dim": 2048},
            "blocks.0.mlp.fc2: needs 256 words a token row, the instruction set has 255 (lanes 8)",
        ),
    ],
)
def test_what_does_not_fit(config, model, text):
    small = dataclasses.replace(TINY, name="small", **config)
    with pytest.raises(CompileError) as error:
        compile(model_with("micro", **model), small)
    assert str(error.value) == text


def test_verification_catches_races():
    steps = compile_steps(model_of("demo"), TINY)
    program = list(steps.schedule.instructions)
    waits = [pc for pc, op in enumerate(program) if Semaphore.WEIGHTS_FREE in op.wait]
    frees = [pc for pc, op in enumerate(program) if Semaphore.WEIGHTS_FREE in op.signal]
    without = list(program)
    for pc, kind in ((waits[3], "wait"), (frees[3], "signal")):
        fewer = getattr(program[pc], kind) - {Semaphore.WEIGHTS_FREE}
        without[pc] = dataclasses.replace(program[pc], **{kind: fewer})
    with pytest.raises(CompileError, match="may overwrite what load"):
        verify(without, TINY)
    early = list(program)
    early[frees[3]] = without[frees[3]]
    with pytest.raises(CompileError, match=r"internal error: pc .* takes too much WEIGHTS_FREE"):
        verify(early, TINY)
    late = list(program)
    late[waits[-1]] = dataclasses.replace(program[waits[-1]], wait=frozenset())
    with pytest.raises(CompileError, match="internal error: 1 WEIGHTS_FREE left at the end"):
        verify(late, TINY)
