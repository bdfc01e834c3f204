"""Selections in programs whose residual stream is in DRAM: places, order, credits, refusals."""

import dataclasses

import pytest

from compiler import CompileError, compile_steps
from compiler.lowering import lower
from compiler.pipeline import finish
from compiler.planning import plan
from compiler.tiling import tiles_behind
from compiler.verification import verify
from spec.isa import Opcode
from spec.model_file import Stage
from spec.presets import preset
from spec.semaphores import Semaphore
from tests.compiler.ordering import DisorderError, check_ordering, without
from tests.random_models import random_model, with_stages
from tests.tiled_models import (
    DEIT_SMALL,
    EXPECTED,
    SPILLED_STAGES,
    expecting,
    machine_of,
    model_of,
    selecting,
)


def case(name):
    """A model and its machine."""
    shape, rules, changes, *_ = SPILLED_STAGES[name]
    return selecting(shape, *rules), machine_of(changes)


def some(shape):
    """Numbers of tokens: all, one row of a tile, tiles that vanish, the least."""
    n, least = shape.tokens, shape.prefix_tokens + 1
    for first in (n, n - 1, n // 2, least):
        for second in (first, max(first // 2, least), least):
            yield [first] + [second] * (len(shape.stages) - 1)


@pytest.mark.parametrize("name", SPILLED_STAGES)
def test_places_and_order(name):
    *_, tiles, slices = SPILLED_STAGES[name]
    model, config = case(name)
    for candidate in plan(lower(model, config), config).candidates:
        steps = finish(model, config, candidate)
        for left in some(model.config):
            check_ordering(steps.schedule.instructions, config, left)
    steps = compile_steps(model, config)
    tiling = steps.allocation.tiling
    assert tiling.spilled
    assert [tile.count for tile in tiling.tokens] == tiles
    assert [2 * part.count for part in tiling.slices] == slices
    assert f"slices of {'+'.join(map(str, slices))} words" in steps.describe()
    ends = [region.end for region in steps.allocation.regions.values()]
    assert max(ends) <= config.token_words


@pytest.mark.parametrize("expected", EXPECTED)
@pytest.mark.parametrize("name", ["two rules", "one slice", "distilled"])
def test_tiles_for_the_tokens_that_are_expected(name, expected):
    model, config = case(name)
    steps = compile_steps(expecting(model, EXPECTED[expected]), config)
    shape, tiling = steps.lowered.model.config, steps.allocation.tiling
    assert [block for block, _ in tiling.behind] == [stage.block for stage in shape.stages]
    longest = max(tile.count for tile in tiling.tokens)
    for _, tiles in tiling.behind:
        assert sum(tile.count for tile in tiles) == shape.tokens
        assert max(tile.count for tile in tiles) <= longest
    for left in some(shape):
        check_ordering(steps.schedule.instructions, config, left)


def test_tiles_behind_a_selection_are_there_for_what_is_expected():
    def counts(*numbers):
        return [tile.count for tile in tiles_behind(*numbers)]

    assert counts(197, 66, 139) == [53, 52, 52, 40]
    assert counts(197, 66, 78) == [44, 44, 55, 54]
    assert counts(197, 66, 43) == [49, 50, 49, 49]
    assert counts(197, 66, 197) == [66, 66, 65]
    assert counts(17, 5, 1) == [2, 5, 5, 5]
    assert [tile.first for tile in tiles_behind(197, 66, 78)] == [0, 44, 88, 143]
    assert [tile.final for tile in tiles_behind(197, 66, 78)] == [False, False, False, True]


def test_every_number_of_tokens():
    model, config = case("two rules")
    program = compile_steps(model, config).schedule.instructions
    for count in range(2, model.config.tokens + 1):
        check_ordering(program, config, [count, count])
        check_ordering(program, config, [count, 2])


@pytest.mark.parametrize(
    ("semaphore", "name"),
    [
        (Semaphore.SPILLED, "two rules"),
        (Semaphore.ROWS_READY, "two rules"),
        (Semaphore.NORM_TABLE_READY, "two rules"),
        (Semaphore.TOKENS_FREE, "two rules"),
        (Semaphore.TOKENS_READY, "two rules"),
        (Semaphore.RESIDUAL_READY, "two rules"),
    ],
)
def test_every_credit_is_needed(semaphore, name):
    model, config = case(name)
    program = without(compile_steps(model, config).schedule.instructions, semaphore)
    with pytest.raises(DisorderError):
        check_ordering(program, config, [9, 5])


def test_slices_but_the_last_leave_the_number_of_tokens():
    model, config = case("two rules")
    program = compile_steps(model, config).schedule.instructions
    selections = [op.fields for op in program if op.opcode == Opcode.SELECT]
    assert [f["more"] for f in selections] == [1, 0] * len(model.config.stages)
    widths = [f["words"] for f in selections]
    assert sum(widths[:2]) == 2 * -(-model.config.embed_dim // config.lanes)


@pytest.mark.parametrize("opcode", [Opcode.LOAD_TOKENS, Opcode.NORMALIZE])
def test_verification_counts_rows_of_tiles(opcode):
    """A piece of one row less gives, or takes, other credits."""
    model, config = case("two rules")
    program = list(compile_steps(model, config).schedule.instructions)
    verify(program, config)
    pc = max(
        pc
        for pc, op in enumerate(program)
        if op.opcode == opcode
        and (op.token_wait or op.token_signal)
        and (op.row_limit > 1 or (op.fields.get("live") and op.fields["rows"] > 1))
    )
    op = program[pc]
    program[pc] = (
        dataclasses.replace(op, row_limit=op.row_limit - 1)
        if op.row_limit
        else dataclasses.replace(op, fields={**op.fields, "rows": op.fields["rows"] - 1})
    )
    with pytest.raises(CompileError, match="internal error"):
        verify(program, config)


def test_transfers_depend_on_live_tokens_behind_the_first_selection_only():
    model, config = case("two rules")
    steps = compile_steps(model, config).schedule
    live = [
        (pc, op.fields["live"])
        for pc, op in enumerate(steps.instructions)
        if op.opcode in (Opcode.LOAD_TOKENS, Opcode.STORE_TOKENS)
    ]
    behind = next(
        pc
        for pc, op in enumerate(steps.instructions)
        if op.opcode == Opcode.SELECT and not op.fields["more"]
    )
    assert all(flag == (pc > behind) for pc, flag in live[:-1])
    assert steps.names[live[-1][0]] == "head"


def test_too_small_for_a_selector():
    """The dense model fits."""
    config = machine_of({"token_words": 100})
    compile_steps(model_of("odd depth"), config)
    model = with_stages(model_of("odd depth"), [Stage(block=1, rule="selector")])
    with pytest.raises(CompileError) as error:
        compile_steps(model, config)
    assert str(error.value) == (
        "blocks.1.selector: needs 816 bytes of token memory, preset 'cramped' has 800 (token_words)"
    )


@pytest.mark.parametrize(("rule", "slices"), [("selector", [12]), ("cls_attention", [12])])
def test_deit_small_on_asic512(rule, slices):
    config = preset("asic512")
    model = random_model(dataclasses.replace(DEIT_SMALL, depth=3), outliers=False, images=1)
    model = with_stages(model, [Stage(block=block, rule=rule) for block in (1, 2)])
    steps = compile_steps(model, config)
    tiling = steps.allocation.tiling
    assert [tile.count for tile in tiling.tokens] == [66, 66, 65]
    assert [2 * part.count for part in tiling.slices] == slices
    for left in ([197, 197], [139, 77], [66, 2]):
        check_ordering(steps.schedule.instructions, config, left)
