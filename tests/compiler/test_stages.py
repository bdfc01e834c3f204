"""Programs with selections of tokens: order, credits, places, and what is refused."""

import dataclasses

import pytest

from compiler import CompileError, compile_steps
from compiler.lowering import lower
from compiler.pipeline import finish
from compiler.planning import plan
from compiler.verification import verify
from golden_model.expected import expected_tensors
from spec.isa import Opcode, ScoreUse
from spec.model_file import Stage
from spec.presets import preset
from spec.semaphores import Queue, Semaphore
from tests.compiler.ordering import DisorderError, check_ordering, without
from tests.random_models import pruned, random_images, random_model, with_stages
from tests.shapes import SELECTING, model_of
from tests.tiled_models import CASES, DEIT_TINY, machine_of
from tests.tiled_models import model_of as tiled_model

TINY = preset("tiny")
RULES = ("selector", "cls_attention")


def selecting(model, *rules):
    """A model with selections before its blocks 1 on."""
    return with_stages(model, [Stage(block=n, rule=rule) for n, rule in enumerate(rules, start=1)])


def tiled(rule, case="one slot of everything", **more):
    """A model in three tiles of tokens, and its machine."""
    shape, changes, *_ = CASES[case]
    model = tiled_model(shape)
    return selecting(model, *[rule] * (model.config.depth - 1)), machine_of({**changes, **more})


@pytest.mark.parametrize("config", SELECTING.values(), ids=SELECTING)
@pytest.mark.parametrize("rule", RULES)
def test_whole_programs_are_in_order(rule, config):
    for name in ("micro", "wide"):
        model = model_of(name)
        model = selecting(model, *[rule] * (model.config.depth - 1))
        program = compile_steps(model, config).schedule.instructions
        tokens = model.config.tokens
        for left in ([2, 2], [tokens, 2], [tokens - 1, 3], [tokens, tokens]):
            check_ordering(program, config, left)


@pytest.mark.parametrize("rule", RULES)
def test_programs_in_tiles_are_in_order_for_any_number_of_tokens(rule):
    model, config = tiled(rule)
    for candidate in plan(lower(model, config), config).candidates:
        steps = finish(model, config, candidate)
        assert len(steps.allocation.tiling.tokens) > 1
        for count in range(2, model.config.tokens + 1):
            check_ordering(steps.schedule.instructions, config, [count, count])
            check_ordering(steps.schedule.instructions, config, [count, 2])


@pytest.mark.parametrize(
    ("semaphore", "rule"),
    [
        (Semaphore.LIVE_READY, "selector"),
        (Semaphore.LIVE_KNOWN, "selector"),
        (Semaphore.RESIDUAL_READY, "selector"),
        (Semaphore.RESIDUAL_READY, "cls_attention"),
        (Semaphore.ARRAY_DONE, "selector"),
        (Semaphore.NORMALIZED, "selector"),
        (Semaphore.WEIGHTS_FREE, "selector"),
    ],
)
def test_every_credit_is_needed(semaphore, rule):
    model, config = tiled(rule, "three tiles", column_tables=64)
    program = without(compile_steps(model, config).schedule.instructions, semaphore)
    with pytest.raises(DisorderError):
        check_ordering(program, config)


@pytest.mark.parametrize("opcode", [Opcode.NORMALIZE, Opcode.FULLY_CONNECTED])
def test_verification_counts_rows_of_tiles(opcode):
    """A tile of one row less gives other credits than are taken."""
    model, config = tiled("selector")
    program = list(compile_steps(model, config).schedule.instructions)
    verify(program, config)
    pc = max(
        pc
        for pc, op in enumerate(program)
        if op.opcode == opcode and op.row_limit > 1 and (op.token_wait or op.token_signal)
    )
    program[pc] = dataclasses.replace(program[pc], row_limit=program[pc].row_limit - 1)
    with pytest.raises(CompileError, match="internal error"):
        verify(program, config)


def test_only_tiles_behind_the_first_depend_on_live_tokens():
    model, config = tiled("cls_attention")
    steps = compile_steps(model, config)
    firsts = {tile.first for tile in steps.allocation.tiling.tokens}
    loads = [op for op in steps.schedule.instructions if op.opcode == Opcode.LOAD_WEIGHTS]
    assert {op.fields["live_above"] for op in loads} == firsts
    waiting = [op for op in loads if Semaphore.LIVE_KNOWN in op.wait]
    assert len(waiting) == len(model.config.stages)
    assert all(op.fields["live_above"] for op in waiting)


def test_before_the_first_selection_nothing_depends_on_it():
    """Up to fc2 of the block before, the array and LayerNorm do as in the dense program."""
    dense = tiled_model("odd depth")
    config = machine_of(CASES["one slot of everything"][1])
    model = with_stages(dense, [Stage(block=2, rule="selector")])

    def beginning(model):
        steps = compile_steps(model, config).schedule
        behind = steps.names.index("blocks.1.mlp.fc2")
        return [
            (name, op.opcode, op.token_wait, op.token_signal, op.fields.get("rows"), op.row_limit)
            for name, op in zip(steps.names[:behind], steps.instructions, strict=False)
            if op.queue in (Queue.ARRAY, Queue.VECTOR)
        ]

    assert beginning(model) == beginning(dense)


def test_scores_of_cls_are_set_once():
    for config in SELECTING.values():
        model = selecting(model_of("wide"), "cls_attention", "selector")
        steps = compile_steps(model, config).schedule
        uses = {}
        for name, op in zip(steps.names, steps.instructions, strict=True):
            if op.opcode == Opcode.ATTENTION:
                uses.setdefault(name, []).append(op.fields["scores"])
        first = uses.pop("blocks.0.attn")
        assert first == [ScoreUse.SET] + [ScoreUse.ADD] * (len(first) - 1)
        assert {use for those in uses.values() for use in those} == {ScoreUse.NONE}


def test_tensors_have_the_shapes_of_each_picture():
    model = pruned(model_of("micro"), [(1, "selector")])
    image = compile_steps(model, TINY).image
    for picture in random_images(model.config, 3, seed=7):
        tensors = expected_tensors(model, picture)[1]
        assert list(image.tensors) == list(tensors)
        dropped = model.config.tokens - len(tensors["blocks.1.norm1"])
        for name, tensor in tensors.items():
            entry = image.tensors[name]
            assert entry.shape_of(dropped * entry.stages) == tensor.shape
            assert entry.dtype == str(tensor.dtype)


@pytest.mark.parametrize("rule", RULES)
def test_deit_tiny_on_asic512(rule):
    config = preset("asic512")
    model = random_model(dataclasses.replace(DEIT_TINY, depth=3), outliers=False, images=1)
    steps = compile_steps(selecting(model, rule, rule), config)
    assert [tile.count for tile in steps.allocation.tiling.tokens] == [99, 98]
    for left in ([197, 197], [120, 99], [99, 50]):
        check_ordering(steps.schedule.instructions, config, left)


@pytest.mark.parametrize(
    ("rule", "changes", "text"),
    [
        (
            "selector",
            {"token_selector": False, "cls_scores": False},
            "blocks.1.selector: rule selector needs token_selector, preset 'small' has none "
            "(token_selector=on)",
        ),
        (
            "cls_attention",
            {"cls_scores": False},
            "blocks.1.selector: rule cls_attention needs cls_scores, preset 'small' has none "
            "(cls_scores=on)",
        ),
    ],
)
def test_machines_without_a_selector(rule, changes, text):
    small = dataclasses.replace(TINY, name="small", **changes)
    with pytest.raises(CompileError) as error:
        compile_steps(selecting(model_of("micro"), rule), small)
    assert str(error.value) == text


def test_more_heads_than_a_selection_has():
    shape = dataclasses.replace(model_of("micro").config, embed_dim=36, heads=9, head_dim=4)
    model = selecting(random_model(shape, outliers=False, images=2), "selector")
    with pytest.raises(CompileError) as error:
        compile_steps(model, TINY)
    assert str(error.value) == "blocks.1.selector: needs 9 heads, preset 'tiny' has 8 (lanes)"
    compile_steps(model, SELECTING["ulx3s"])
