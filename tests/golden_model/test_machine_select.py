"""Instructions of the token sieve by hand: SELECT, row limits, loads that may be left out."""

import dataclasses

import numpy as np
import pytest

from golden_model.machine import MachineError
from golden_model.machine_memory import Memories
from golden_model.machine_select import select
from golden_model.units.select_tokens import select_tokens
from golden_model.units.token_score import classifier_score
from spec.assembler import live_rows
from spec.isa import Destination, Opcode, Package, Scores, ScoreUse, Window
from spec.presets import preset
from spec.registers import Error
from spec.semaphores import Semaphore
from tests.golden_model.test_machine import change, one_layer, op, run

TINY = preset("tiny")
S = Semaphore


def fields(**changes):
    """A selection of five rows of two words by one head."""
    return {
        "source": 10,
        "stride": 3,
        "words": 2,
        "keep": 100,
        "attend": 200,
        "score_stride": 1,
        "heads": 1,
        "prefix": 1,
        "threshold": 8192,
        "weight_shift": 5,
        "scores": Scores.CLASSIFIER,
        "package": Package.WEIGHTED,
        "each": 0,
        "more": 0,
        **changes,
    }


def selection(keep, **changes):
    """Memory of random rows with these keep logits, what is written, and the rows before."""
    memory = Memories(TINY, {}, seed=5)
    memory.live = len(keep)
    for row, logit in enumerate(keep):
        memory.token[100 + row, :2] = np.array([logit], "<i2").view(np.uint8)
        memory.token[200 + row, :2] = 0
    address = memory.token_addresses(10, 3, len(keep), 2)
    rows = memory.token[address].reshape(len(keep), -1).view("<i2").copy()
    return memory, select(memory, fields(**changes)), rows


def test_a_selection_writes_what_moves_word_by_word():
    keep = [0, 900, -900, 900, -900]
    memory, (address, data), rows = selection(keep)
    assert memory.live == 4
    assert memory.packages == 1
    assert address.tolist() == [16, 19, 17, 20]
    left, kept, _ = select_tokens(
        rows,
        classifier_score(np.array(keep)[:, None], np.zeros((5, 1))),
        threshold=8192,
        prefix=1,
        packages=0,
        package=Package.WEIGHTED,
        each=False,
        weight_shift=5,
    )
    assert kept.tolist() == [True, True, False, True, False]
    words = left.astype("<i2").view(np.uint8).reshape(4, 2, 8)
    assert np.array_equal(data, words[2:].swapaxes(0, 1).reshape(-1, 8))


def test_a_selection_that_drops_nothing_writes_nothing():
    memory, (address, data), _ = selection([0, 900, 900])
    assert (memory.live, memory.packages, len(address), len(data)) == (3, 0, 0, 0)
    memory, (address, _), _ = selection([0, 900, 900, -900, -900], package=Package.NONE)
    assert (memory.live, len(address)) == (3, 0)


def test_the_number_of_live_tokens_changes_with_the_last_words():
    memory, (address, _), _ = selection([0, 900, -900, 900], more=1)
    assert (memory.live, memory.packages, len(address)) == (4, 0, 4)


def halt(*instructions):
    return [*instructions, op(Opcode.HALT, skipped=0)]


BIG = op(Opcode.LIVE, tokens=5)


@pytest.mark.parametrize(
    ("program", "changes", "code", "text"),
    [
        (halt(op(Opcode.SELECT, **fields())), {}, Error.OPERAND, "0 live tokens, there must be"),
        (halt(BIG, op(Opcode.SELECT, **fields(words=0))), {}, Error.OPERAND, "rows of 0 words"),
        (halt(BIG, op(Opcode.SELECT, **fields(heads=9))), {}, Error.OPERAND, "9 heads"),
        (halt(BIG, op(Opcode.SELECT, **fields(heads=0))), {}, Error.OPERAND, "0 heads"),
        (
            halt(BIG, op(Opcode.SELECT, **fields(source=4090))),
            {},
            Error.TOKEN_ADDRESS,
            "token word 4103",
        ),
        (
            halt(BIG, op(Opcode.SELECT, **fields())),
            {"token_selector": False, "cls_scores": False},
            Error.OPCODE,
            "SELECT on a machine without token_selector",
        ),
        (
            halt(BIG, op(Opcode.SELECT, **fields(scores=Scores.CLS_ATTENTION))),
            {"cls_scores": False},
            Error.OPERAND,
            "a machine without cls_scores",
        ),
        (
            halt(op(Opcode.SELECT, token_wait=S.RESIDUAL_READY, **fields())),
            {},
            Error.OPERAND,
            "of an instruction without rows",
        ),
        (
            change(2, broadcast=1),
            {"token_selector": False, "cls_scores": False},
            Error.OPERAND,
            "broadcast on a machine without token_selector",
        ),
        (
            change(1, live_above=1),
            {"token_selector": False, "cls_scores": False},
            Error.OPERAND,
            "depend on live tokens",
        ),
        (
            change(2, row_limit=1),
            {"token_selector": False, "cls_scores": False},
            Error.OPERAND,
            "depend on live tokens",
        ),
    ],
)
def test_bad_instructions(program, changes, code, text):
    with pytest.raises(MachineError, match=text) as error:
        run(program, **changes)
    assert error.value.code == code


def test_scores_of_cls_need_their_hardware():
    head = {
        "query": 0,
        "query_stride": 1,
        "key": 0,
        "value": 0,
        "head_words": 1,
        "head_dim": 8,
        "first_lane": 0,
        "target": 0,
        "target_stride": 1,
        "queries": live_rows(),
        "keys": live_rows(),
        "score_multiplier": 0,
        "score_shift": 0,
        "output_multiplier": 0,
        "output_shift": 0,
        "further_groups": 0,
        "scores": ScoreUse.SET,
    }
    with pytest.raises(MachineError, match="a machine without cls_scores") as error:
        run(halt(BIG, op(Opcode.ATTENTION, **head)), cls_scores=False)
    assert error.value.code == Error.OPERAND


def with_live(program, tokens):
    """The program behind a LIVE, which its array instruction waits for."""
    layer = dataclasses.replace(program[2], wait=program[2].wait | {S.LIVE_READY})
    return [
        op(Opcode.LIVE, signal=[S.LIVE_READY], tokens=tokens),
        *program[:2],
        layer,
        *program[3:],
    ]


@pytest.mark.parametrize(("tokens", "count"), [(4, 0), (5, 1), (6, 2), (9, 2)])
def test_a_limited_instruction_may_have_no_rows(tokens, count):
    """It takes and gives its credits in any case."""
    whole = run(one_layer())
    program = with_live(change(2, rows=live_rows(4), row_limit=2), tokens)
    result = run(program)
    assert result.credits == {}
    assert len(result.writes[3].token_address) == count
    assert result.macs[3] == count * 80
    size = count * TINY.lanes
    assert result.windows[Window.RESULT][:size] == whole.windows[Window.RESULT][:size]
    if not count:
        assert not any(result.windows[Window.RESULT])


@pytest.mark.parametrize(("tokens", "loaded"), [(4, False), (5, True)])
def test_weights_for_no_rows_are_not_loaded(tokens, loaded):
    program = with_live(change(1, live_above=4), tokens)
    known = dataclasses.replace(program[2], wait=program[2].wait | {S.LIVE_KNOWN})
    live = dataclasses.replace(program[0], signal=program[0].signal | {S.LIVE_KNOWN})
    result = run([live, program[1], known, *program[3:]])
    assert result.credits == {}
    same = result.windows[Window.RESULT] == run(one_layer()).windows[Window.RESULT]
    assert same == loaded


def test_broadcast_adds_the_sums_of_row_0():
    """One row of sums for three: as if each row had its own, equal ones."""
    layer = one_layer()
    sums = dataclasses.replace(
        layer[2],
        fields={
            **layer[2].fields,
            "rows": {"count": 1, "live": 0},
            "destination": Destination.PARTIAL,
            "target": 300,
        },
        signal=frozenset({S.ARRAY_DONE}),
    )
    add = dataclasses.replace(
        layer[2],
        fields={**layer[2].fields, "accumulate": 1, "partial": 300, "broadcast": 1},
        wait=frozenset({S.ARRAY_DONE}),
    )
    result = run([*layer[:2], sums, add, *layer[3:]])
    twice = run(one_layer(depth=10)).writes[2].token_data.view(np.int8)
    found = result.writes[3].token_data.view(np.int8)
    assert not np.array_equal(found, twice)
    each = [
        run(
            [
                *layer[:2],
                sums,
                dataclasses.replace(
                    add,
                    fields={
                        **add.fields,
                        "broadcast": 0,
                        "rows": {"count": 1, "live": 0},
                        "source": layer[2].fields["source_stride"] * row,
                    },
                ),
                *layer[3:],
            ]
        )
        .writes[3]
        .token_data.view(np.int8)[0]
        for row in range(3)
    ]
    assert np.array_equal(found, each)
