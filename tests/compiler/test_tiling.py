import dataclasses

import pytest

from compiler import CompileError, compile_steps
from compiler.lowering import lower
from compiler.pipeline import finish
from compiler.planning import plan
from compiler.ring import RingUse, array_waits, place_uses
from compiler.tiling import balanced
from compiler.verification import verify
from spec.isa import Destination, Opcode
from spec.presets import preset
from spec.semaphores import Semaphore
from tests.compiler.ordering import DisorderError, check_ordering, without
from tests.random_models import random_model
from tests.shapes import HOLDING, SHAPES
from tests.shapes import model_of as whole_model
from tests.tiled_models import CASES, DEIT_TINY, SPILLED, machine_of, model_of

ASIC = preset("asic512")


def deit(**changes):
    """A model of DeiT-T's shape, two blocks deep; only its shape matters here."""
    shape = dataclasses.replace(DEIT_TINY, depth=2, **changes)
    return random_model(shape, outliers=False, images=1)


def counts(tiles):
    return [tile.count for tile in tiles]


def test_balanced():
    assert counts(balanced(197, 2)) == [99, 98]
    assert counts(balanced(5, 5)) == [1] * 5
    assert [tile.first for tile in balanced(11, 3)] == [0, 4, 8]


@pytest.mark.parametrize("name", CASES)
def test_smallest_number_of_tiles(name):
    shape, changes, patches, tokens = CASES[name]
    config = machine_of(changes)
    steps = compile_steps(model_of(shape), config)
    plan = steps.allocation
    assert (counts(plan.tiling.patches), counts(plan.tiling.tokens)) == (patches, tokens)
    assert max(region.end for region in plan.regions.values()) <= config.token_words
    check_ordering(steps.schedule.instructions, config)
    if tokens:
        text = "+".join(str(count) for count in tokens)
        first = "norm2" if plan.tiling.proj_whole else "proj"
        assert f"{first} to fc2".ljust(13) + f" tiles of {text} tokens" in steps.describe()


@pytest.mark.parametrize("name", [*CASES, *SPILLED])
def test_every_candidate_is_in_order(name):
    """Not only the one that is chosen; and what is chosen is the cheapest."""
    shape, changes, *_ = {**CASES, **SPILLED}[name]
    model, config = model_of(shape), machine_of(changes)
    found = plan(lower(model, config), config)
    assert found.chosen.cost == min(candidate.cost for candidate in found.candidates)
    for candidate in found.candidates:
        check_ordering(finish(model, config, candidate).schedule.instructions, config)


def test_candidates_of_every_kind():
    """Proj tiled and not; layers in chunks and not."""
    shape, changes, *_ = CASES["smallest row memory"]
    config = machine_of(changes)
    found = plan(lower(model_of(shape), config), config).candidates
    assert {candidate.allocation.tiling.proj_whole for candidate in found} == {False, True}
    assert {bool(candidate.chunks) for candidate in found} == {False, True}


@pytest.mark.parametrize("config", HOLDING.values(), ids=HOLDING)
@pytest.mark.parametrize("name", SHAPES)
def test_whole_programs_are_in_order(name, config):
    steps = compile_steps(whole_model(name), config)
    assert counts(steps.allocation.tiling.tokens) == []
    assert not steps.allocation.shared
    check_ordering(steps.schedule.instructions, config)


@pytest.mark.parametrize("name", SPILLED)
def test_spilled(name):
    shape, changes, tokens, chunks = SPILLED[name]
    config = machine_of(changes)
    steps = compile_steps(model_of(shape), config)
    tiling = steps.allocation.tiling
    assert (tiling.spilled, counts(tiling.tokens)) == (True, tokens)
    split = [op for op in steps.schedule.instructions if op.fields.get("accumulate")]
    assert bool(split) == (chunks > 1)
    assert steps.image.scratch_bytes == steps.allocation.scratch_bytes > 0
    check_ordering(steps.schedule.instructions, config)
    assert "proj to next norm1 tiles of" in steps.describe()


@pytest.mark.parametrize(
    ("changes", "tokens", "chunks"),
    [
        ({"embed_dim": 384, "heads": 6, "mlp_dim": 1536}, [66, 66, 65], 2),
        ({"embed_dim": 384, "heads": 6, "mlp_dim": 1536, "patch_size": 14}, [65, 64, 64, 64], 2),
        ({"embed_dim": 768, "heads": 12, "mlp_dim": 3072}, [33, 33, 33, 33, 33, 32], 4),
    ],
    ids=["DeiT-S", "ViT-S/14", "DeiT-B"],
)
def test_large_models_on_asic512(changes, tokens, chunks):
    steps = compile_steps(deit(**changes), ASIC)
    assert counts(steps.allocation.tiling.tokens) == tokens
    fc2 = next(layer for layer in steps.lowered.layers if layer.name == "blocks.0.mlp.fc2")
    assert len(fc2.blocks) == chunks * changes["embed_dim"] // ASIC.lanes
    check_ordering(steps.schedule.instructions, ASIC)


def test_deit_tiny_on_asic512():
    steps = compile_steps(deit(), ASIC)
    tiling = steps.allocation.tiling
    assert (counts(tiling.patches), counts(tiling.tokens)) == ([66, 65, 65], [99, 98])
    assert ASIC.sram_bytes <= 320 * 1024
    check_ordering(steps.schedule.instructions, ASIC)
    assert "weight ring, 115 blocks, largest 96 words, from 0 on" in steps.describe()


@pytest.mark.parametrize(
    ("changes", "config", "text"),
    [
        (
            {"embed_dim": 960, "heads": 15, "mlp_dim": 1920},
            {},
            "blocks.0.attn: needs 226,944 bytes of token memory, preset 'small' has 202,752 "
            "(token_words)",
        ),
        (
            {"patch_size": 56},
            {"token_words": 150},
            "patch_embed: needs 19,968 bytes of token memory, preset 'small' has 9,600 "
            "(token_words)",
        ),
        (
            {},
            {"row_words": 57},
            "blocks.0.attn.qkv: needs 37,888 bytes of row memory, preset 'small' has 29,184 "
            "(row_words)",
        ),
    ],
)
def test_what_does_not_fit_in_tiles(changes, config, text):
    small = dataclasses.replace(ASIC, name="small", **config)
    with pytest.raises(CompileError) as error:
        compile_steps(deit(**changes), small)
    assert str(error.value) == text


@pytest.mark.parametrize(
    "semaphore",
    [
        Semaphore.NORMALIZED,
        Semaphore.RESIDUAL_READY,
        Semaphore.ARRAY_DONE,
        Semaphore.WEIGHTS_FREE,
        Semaphore.TOKENS_FREE,
        Semaphore.TOKENS_READY,
    ],
)
def test_every_credit_is_needed(semaphore):
    """Without one semaphore's credits, the proof of order fails."""
    check_needed(semaphore, *CASES["six tiles"][:2])


@pytest.mark.parametrize(
    "semaphore",
    [
        Semaphore.NORMALIZED,
        Semaphore.RESIDUAL_READY,
        Semaphore.ARRAY_DONE,
        Semaphore.WEIGHTS_FREE,
        Semaphore.TOKENS_FREE,
        Semaphore.TOKENS_READY,
        Semaphore.ROWS_READY,
        Semaphore.CONTEXT_READY,
        Semaphore.RESULT_STORED,
        Semaphore.SPILLED,
    ],
)
def test_every_credit_of_a_spilling_program_is_needed(semaphore):
    check_needed(semaphore, *SPILLED["four groups"][:2])


def check_needed(semaphore, shape, changes):
    config = machine_of(changes)
    program = without(compile_steps(model_of(shape), config).schedule.instructions, semaphore)
    with pytest.raises(DisorderError):
        check_ordering(program, config)


def test_verification_guards_keys_and_values():
    shape, changes, *_ = CASES["smallest row memory"]
    config = machine_of(changes)
    program = list(compile_steps(model_of(shape), config).schedule.instructions)
    key = max(
        pc for pc, op in enumerate(program) if op.fields.get("destination") == Destination.ROWS
    )
    load = max(pc for pc in range(key) if program[pc].opcode == Opcode.LOAD_WEIGHTS)
    fields = {**program[load].fields, "row": program[key].fields["target"]}
    program[load] = dataclasses.replace(program[load], fields=fields)
    with pytest.raises(CompileError, match="shares words with keys or values in use"):
        verify(program, config)


def test_aligned_blocks_wait_less():
    small = RingUse(size=2, load_cycles=8, use_cycles=20)
    large = RingUse(size=8, load_cycles=32, use_cycles=80)
    uses = [small] * 10 + [large] * 2 + [small] * 10 + [large] * 2
    gapless, aligned = (place_uses(uses, 16, 8, kind) for kind in (False, True))
    assert array_waits(uses, aligned) < array_waits(uses, gapless)
    assert array_waits(uses, aligned) == 8
