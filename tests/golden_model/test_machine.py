import dataclasses

import numpy as np
import pytest

from compiler import compile
from golden_model.errors import GoldenError
from golden_model.expected import expected_tensors
from golden_model.machine import MachineError, machine, run_program
from golden_model.trace import assemble_tensors
from golden_model.units.requantize import requantize
from spec.assembler import Instruction, decode, encode, live_rows, rows
from spec.image import ImageError
from spec.isa import Activation, Destination, Opcode, Window
from spec.pixels import patches_of
from spec.presets import PRESETS, preset
from spec.registers import Error
from spec.semaphores import Semaphore
from tests.random_models import random_images
from tests.shapes import SHAPES, model_of

TINY = preset("tiny")
CRAMPED = {
    "one slot of everything": {"norm_tables": 8, "column_tables": 1, "queue_depth": 1},
    "smallest ring": {"row_words": 136, "queue_depth": 1},
    "ring over keys and values": {"row_words": 120, "queue_depth": 1},
    "wide array": {"banks": 8, "lanes": 8, "score_words": 8, "prob_words": 8},
}


def check(name, config, picture=0, seed=None):
    return check_model(model_of(name), config, picture, seed)


def check_model(model, config, picture=0, seed=None):
    """vit == machine on every intermediate tensor, and no credit is left."""
    images = random_images(model.config, 1, seed=100 + picture)
    logits, expected = expected_tensors(model, images[0])
    run = machine(compile(model, config), config, patches_of(images, model.config)[0], seed)
    assert list(run.tensors) == list(expected)
    for key, tensor in expected.items():
        assert run.tensors[key].dtype == tensor.dtype, key
        assert run.tensors[key].shape == tensor.shape, key
        differing = np.argwhere(run.tensors[key] != tensor)
        assert not len(differing), f"{config.name}: {key} differs first at {differing[0]}"
    assert np.array_equal(run.logits, logits)
    assert run.execution.credits == {}
    return run


@pytest.mark.parametrize(
    ("name", "preset_name"),
    [
        (name, config.name)
        for name in SHAPES
        for config in PRESETS.values()
        if SHAPES[name].head_dim <= config.max_head_dim
    ],
)
def test_vit_is_machine(name, preset_name):
    check(name, preset(preset_name))


@pytest.mark.parametrize("changes", CRAMPED.values(), ids=CRAMPED)
def test_cramped_machines(changes):
    check("demo", dataclasses.replace(TINY, name="cramped", **changes), seed=7)


@pytest.mark.parametrize("name", ["micro", "five_tokens", "uneven_heads"])
def test_nothing_depends_on_old_memory(name):
    for picture in range(3):
        check(name, TINY, picture, seed=picture)


def test_macs():
    run = check("micro", preset("asic512"))
    shape = SHAPES["micro"]
    t, d, m = shape.tokens, shape.embed_dim, shape.mlp_dim
    block = 4 * d * d * t + 2 * t * t * d + 2 * d * m * t
    patches = shape.patches * shape.patch_dim * d
    assert sum(run.execution.macs.values()) == patches + shape.depth * block + d * shape.classes


def test_writes_are_in_the_order_of_the_hardware():
    image = compile(model_of("five_tokens"), TINY)
    patches = np.ones((4, 9), np.int8)
    writes = machine(image, TINY, patches).execution.writes
    program = [decode(word.tobytes()) for word in image.program]
    pc = next(i for i, op in enumerate(program) if op.opcode == Opcode.ATTENTION)
    target, stride = program[pc].fields["target"], program[pc].fields["target_stride"]
    one = writes[pc]
    assert one.token_address.tolist() == [
        target + t * stride + w for t in range(5) for w in range(2)
    ]
    assert one.token_mask.sum(axis=1).tolist() == [8, 2] * 5
    assert not one.token_data[~one.token_mask].any()
    assert one.score_valid.tolist() == [[True] * 4, [True] + [False] * 3] * 5
    assert not one.scores[~one.score_valid].any()
    assert not one.probs[~one.score_valid].any()
    pc = next(
        i for i, op in enumerate(program) if op.fields.get("destination") == Destination.RESIDUAL
    )
    assert writes[pc].token_address.tolist() == [6 + 6 * t + w for t in range(4) for w in range(2)]
    pc = next(i for i, op in enumerate(program) if op.fields.get("destination") == Destination.ROWS)
    assert writes[pc].row_bank.tolist() == [0, 1, 2, 3, 0]
    assert writes[pc].row_address.tolist() == [0, 0, 0, 0, 2]


def test_missing_writes_are_an_error():
    image = compile(model_of("two_tokens"), TINY)
    writes = dict(machine(image, TINY, np.ones((1, 16), np.int8)).execution.writes)
    writes.pop(max(writes) - 1)
    with pytest.raises(GoldenError, match=r"head: instruction .* wrote nothing"):
        assemble_tensors(image, writes)


def test_refuses_another_machine_or_picture():
    image = compile(model_of("micro"), TINY)
    with pytest.raises(ImageError, match="compiled for config 'tiny'"):
        machine(image, preset("ulx3s"), np.zeros((9, 16), np.int8))
    with pytest.raises(ImageError, match="input must be int8"):
        machine(image, TINY, np.zeros((9, 15), np.int8))


# One fully connected layer, by hand -----------------------------------------------------------


def op(opcode, wait=(), signal=(), token_wait=None, token_signal=None, **fields):
    return Instruction(
        opcode=opcode,
        fields=fields,
        wait=frozenset(wait),
        signal=frozenset(signal),
        token_wait=token_wait,
        token_signal=token_signal,
    )


def one_layer(**changes):
    """Load three tokens of 10 channels and one block, multiply, store."""
    fields = {
        "source": 0,
        "source_stride": 2,
        "zero_point": 0,
        "depth": 10,
        "row": 5,
        "table": 3,
        "columns": 8,
        "rows": rows(3),
        "destination": Destination.TOKENS,
        "target": 100,
        "target_stride": 1,
        "activation": Activation.NONE,
        "activation_multiplier": 0,
        "activation_shift": 0,
        "activation_zero_point": 0,
        "accumulate": 0,
        "partial": 0,
        "group_words": 0,
        "broadcast": 0,
    }
    s = Semaphore
    return [
        op(Opcode.LOAD_TOKENS, signal=[s.TOKENS_READY], offset=0, window=Window.INPUT, token=0,
           words=2, stride=2, rows=3, live=0, first=0),
        op(Opcode.LOAD_WEIGHTS, signal=[s.WEIGHTS_READY], offset=0, row=5, depth=10, table=3,
           further_groups=0, live_above=0),
        op(Opcode.FULLY_CONNECTED, wait=[s.TOKENS_READY, s.WEIGHTS_READY],
           signal=[s.RESULT_READY], **{**fields, **changes}),
        op(Opcode.STORE_TOKENS, wait=[s.RESULT_READY], offset=0, window=Window.RESULT, token=100,
           words=1, stride=1, rows=3, live=0, first=0),
        op(Opcode.HALT, skipped=0),
    ]  # fmt: skip


def windows():
    generator = np.random.default_rng(0)
    table = np.zeros(8, [("addend", "<i4"), ("multiplier", "<u2"), ("shift", "u1"), ("zero", "u1")])
    table["addend"] = generator.integers(-5000, 5000, 8)
    table["multiplier"] = generator.integers(1 << 15, 1 << 16, 8)
    table["shift"] = 25
    weight = generator.integers(-127, 128, (10, 8), dtype=np.int8)
    x = generator.integers(-127, 128, (3, 16), dtype=np.int8)
    return table, weight, x


def run(program, **changes):
    table, weight, x = windows()
    memory = {
        Window.WEIGHTS: table.tobytes() + weight.tobytes(),
        Window.INPUT: x.tobytes(),
        Window.RESULT: bytes(24),
    }
    words = np.frombuffer(b"".join(map(encode, program)), np.uint8).reshape(-1, 32)
    return run_program(dataclasses.replace(TINY, **changes), words, memory)


def test_one_fully_connected_layer():
    table, weight, x = windows()
    result = run(one_layer()).windows[Window.RESULT]
    acc = x[:, :10].astype(np.int64) @ weight.astype(np.int64)
    expected = requantize(acc, table["addend"], table["multiplier"], table["shift"], -127, 127)
    assert np.array_equal(np.frombuffer(result, np.int8).reshape(3, 8), expected)
    assert np.abs(expected).max() < 127


def test_zero_point_and_relu():
    table, weight, x = windows()
    result = run(one_layer(zero_point=-100, activation=Activation.RELU)).windows[Window.RESULT]
    acc = (x[:, :10].astype(np.int64) + 100) @ weight.astype(np.int64)
    expected = requantize(acc, table["addend"], table["multiplier"], table["shift"], 0, 127)
    assert np.array_equal(np.frombuffer(result, np.int8).reshape(3, 8), expected)


def change(index, **changes):
    """The program with other fields (or credits) in one instruction."""
    program = one_layer()
    old = program[index]
    names = {f.name for f in dataclasses.fields(Instruction)}
    fields = {k: v for k, v in changes.items() if k not in names}
    others = {k: v for k, v in changes.items() if k in names}
    program[index] = dataclasses.replace(old, fields={**old.fields, **fields}, **others)
    return program


S = Semaphore


@pytest.mark.parametrize(
    ("program", "code", "pc", "text"),
    [
        (change(2, depth=0), Error.OPERAND, 2, "depth is 0"),
        (change(2, columns=9), Error.OPERAND, 2, "9 columns, must be 1..8"),
        (change(2, rows=rows(0)), Error.OPERAND, 2, "0 rows, must be 1..128"),
        (change(2, rows=live_rows()), Error.OPERAND, 2, "no row is left"),
        (change(0, rows=0), Error.OPERAND, 0, "0 rows of 2 words"),
        (change(2, source=4095), Error.TOKEN_ADDRESS, 2, "token word 4100 lies beyond the 4096"),
        (change(2, target=4094), Error.TOKEN_ADDRESS, 2, "token word 4096"),
        (change(2, row=510), Error.ROW_ADDRESS, 2, "row word 512 lies beyond the 512"),
        (change(1, row=510), Error.ROW_ADDRESS, 1, "row word 512"),
        (change(1, table=8), Error.TABLE_ADDRESS, 1, "column table entry 8"),
        (change(2, table=8), Error.TABLE_ADDRESS, 2, "column table entry 8"),
        (change(1, offset=8), Error.WINDOW, 1, "beyond window WEIGHTS of 144 bytes"),
        (change(0, window=Window.SCRATCH), Error.WINDOW, 0, "beyond window SCRATCH of 0 bytes"),
        (change(3, window=Window.INPUT), Error.WINDOW, 3, "INPUT, which is read-only"),
        (change(3, offset=1, rows=2), Error.WINDOW, 3, "not a multiple of the bus's 8 bytes"),
        (change(3, rows=4), Error.WINDOW, 3, "bytes 0..31 lie beyond window RESULT of 24 bytes"),
        (
            change(3, signal=frozenset({S.RESULT_READY})),
            Error.SEMAPHORE,
            3,
            "the store queue cannot give RESULT_READY",
        ),
        (
            change(1, wait=frozenset({S.WEIGHTS_READY})),
            Error.SEMAPHORE,
            1,
            "the load queue cannot take WEIGHTS_READY",
        ),
        (change(1, token_signal=S.WEIGHTS_READY), Error.OPERAND, 1, "without rows"),
        (one_layer()[:-1], Error.WINDOW, 4, "the program ends without HALT"),
        (
            [op(Opcode.LIVE, tokens=0), op(Opcode.HALT, skipped=0)],
            Error.OPERAND,
            0,
            "0 live tokens",
        ),
    ],
)
def test_faults(program, code, pc, text):
    with pytest.raises(MachineError, match=text) as error:
        run(program)
    assert (error.value.code, error.value.pc) == (code, pc)
    assert str(error.value).startswith(f"pc {pc}: ")


def test_undefined_opcode():
    with pytest.raises(MachineError, match="pc 0: undefined opcode 0") as error:
        run_program(TINY, np.zeros((1, 32), np.uint8), {})
    assert error.value.code == Error.OPCODE


def test_missing_credit_is_a_deadlock():
    with pytest.raises(MachineError) as error:
        run(change(1, signal=frozenset()))
    assert error.value.code == Error.WATCHDOG
    assert str(error.value) == (
        "the program stops at pc 4: load queue: empty; array queue: pc 2 waits for WEIGHTS_READY; "
        "vector queue: empty; store queue: pc 3 waits for RESULT_READY"
    )


def test_too_few_row_credits_are_a_deadlock():
    program = change(2, token_wait=S.ARRAY_DONE)
    with pytest.raises(MachineError, match="array queue: pc 2 waits for 3 ARRAY_DONE and has 0"):
        run(program)


def test_queue_depth_decides():
    """Loads that wait for a credit fill their queue; the giver behind them never gets in."""
    load = op(
        Opcode.LOAD_WEIGHTS,
        wait=[S.WEIGHTS_FREE],
        offset=0,
        row=5,
        depth=10,
        table=3,
        further_groups=0,
        live_above=0,
    )
    layer = one_layer()
    give = dataclasses.replace(layer[2], signal=layer[2].signal | {S.WEIGHTS_FREE})
    program = [*layer[:2], load, load, give, give, *layer[3:]]
    program[5] = dataclasses.replace(give, wait=frozenset(), signal=frozenset({S.WEIGHTS_FREE}))
    assert run(program, queue_depth=2).credits == {}
    with pytest.raises(MachineError, match="the program stops at pc 3: load queue: pc 2 waits"):
        run(program, queue_depth=1)


def test_overflow():
    gives = [op(Opcode.LIVE, signal=[S.LIVE_READY], tokens=1) for _ in range(4096)]
    with pytest.raises(MachineError, match="pc 4095: LIVE_READY overflows") as error:
        run([*gives, op(Opcode.HALT, skipped=0)])
    assert error.value.code == Error.SEMAPHORE


def test_left_over_credits_are_reported():
    result = run([op(Opcode.LIVE, signal=[S.LIVE_READY], tokens=1), op(Opcode.HALT, skipped=0)])
    assert result.credits == {S.LIVE_READY: 1}
    assert result.order == (0,)
