"""Blocks without attention in programs whose residual stream does not stay on chip."""

import dataclasses

import pytest

from compiler import CompileError, compile, compile_steps
from compiler.lowering import lower
from compiler.pipeline import finish
from compiler.planning import plan
from spec.model_file import Stage
from spec.semaphores import Semaphore
from tests.compiler.ordering import DisorderError, check_ordering, without
from tests.effort_models import every_skip, skipping
from tests.random_models import with_stages
from tests.tiled_models import SPILLED, SPILLED_STAGES, machine_of, model_of

WITH_ATTENTION = [name for name in SPILLED if name != "one block"]


def spilled(case, **more):
    shape, changes, *_ = SPILLED[case]
    return model_of(shape), machine_of({**changes, "norm_tables": 64, **more})


def some_skips(depth):
    """All choices but that of every block."""
    return every_skip(depth)[:-1]


@pytest.mark.parametrize("case", WITH_ATTENTION)
def test_programs_are_in_order(case):
    model, config = spilled(case)
    for skipped in some_skips(model.config.depth):
        alone = skipping(model, *skipped)
        for candidate in plan(lower(alone, config), config).candidates:
            steps = finish(alone, config, candidate)
            assert steps.allocation.tiling.spilled
            check_ordering(steps.schedule.instructions, config)


@pytest.mark.parametrize(
    "semaphore",
    [
        *(Semaphore.RESIDUAL_READY, Semaphore.NORMALIZED, Semaphore.ARRAY_DONE),
        *(Semaphore.SPILLED, Semaphore.ROWS_READY, Semaphore.NORM_TABLE_FREE),
    ],
)
def test_every_credit_is_needed(semaphore):
    model, config = spilled("five tiles", norm_tables=6)
    program = compile_steps(skipping(model, 1), config).schedule.instructions
    check_ordering(program, config)
    with pytest.raises(DisorderError):
        check_ordering(without(program, semaphore), config)


@pytest.mark.parametrize(
    ("skipped", "count"), [((0,), 2), ((1,), 3), ((0, 1), 3), ((0, 2), 3), ((1, 2), 4)]
)
def test_tables_of_all_norms_that_a_tile_goes_through(skipped, count):
    """Two words of tables each."""
    model, config = spilled("five tiles", norm_tables=2 * count)
    program = compile_steps(skipping(model, *skipped), config).schedule.instructions
    check_ordering(program, config)
    fewer = dataclasses.replace(config, norm_tables=2 * count - 1)
    around = " LayerNorms in turn, around skipped attention,"
    what = "norm2 and norm1 in turn" if count == 2 else f"{count}{around}"
    with pytest.raises(CompileError) as error:
        compile(skipping(model, *skipped), fewer)
    assert str(error.value) == (
        f"blocks.0.norm2: needs {2 * count} LayerNorm tables for {what}, preset 'cramped' has "
        f"{2 * count - 1} (norm_tables)"
    )


@pytest.mark.parametrize("case", ["two rules", "in chunks", "distilled", "mean", "four groups"])
@pytest.mark.parametrize("rule", ["selector", "cls_attention"])
def test_selections_before_other_blocks(rule, case):
    shape, _, changes, *_ = SPILLED_STAGES[case]
    model, config = model_of(shape), machine_of({**changes, "norm_tables": 64})
    for block in range(1, model.config.depth):
        staged = with_stages(model, [Stage(block=block, rule=rule, tokens=9)])
        needed = {block, block - 1 if rule == "cls_attention" else block}
        for skipped in some_skips(model.config.depth):
            if needed & set(skipped):
                continue
            steps = compile_steps(skipping(staged, *skipped), config)
            assert steps.allocation.tiling.spilled
            for left in range(2, model.config.tokens + 1):
                check_ordering(steps.schedule.instructions, config, [left])


def test_refusals():
    model, config = spilled("five tiles")
    behind = (
        "only where the residual stream stays on chip; for preset 'cramped' it goes to DRAM "
        "(token_words 100)"
    )
    with pytest.raises(CompileError) as error:
        compile(skipping(model, 0, 1, 2), config)
    assert str(error.value) == f"blocks.0: attention of all blocks is skipped {behind}"
    staged = with_stages(model, [Stage(block=2, rule="selector")])
    config = machine_of({"token_words": 120, "norm_tables": 64})
    with pytest.raises(CompileError) as error:
        compile(skipping(staged, 2), config)
    assert str(error.value) == (
        f"blocks.2: attention is skipped behind a selection {behind.replace('100', '120')}"
    )
