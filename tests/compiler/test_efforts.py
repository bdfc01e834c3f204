"""Programs whose blocks skip attention, and programs of several efforts."""

import dataclasses

import numpy as np
import pytest

from compiler import CompileError, compile, compile_program, compile_steps
from compiler.lowering import lower
from compiler.pipeline import finish
from compiler.planning import plan
from spec.assembler import decode
from spec.isa import INSTRUCTION_BYTES, Opcode, Window, program_parts
from spec.model_file import Stage
from spec.presets import PRESETS, preset
from spec.semaphores import Semaphore
from tests.compiler.ordering import DisorderError, check_ordering, without
from tests.effort_models import every_skip, parting, skipping
from tests.grouped import GROUPED
from tests.random_models import random_images, with_stages
from tests.shapes import HOLDING, SHAPES, model_of
from tests.sieved_models import masked, with_thresholds
from tests.tiled_models import CASES, SPILLED, machine_of
from tests.tiled_models import model_of as tiled_model

TINY = preset("tiny")
GATED = {name: config for name, config in PRESETS.items() if config.effort_gate}
ON_CHIP = {name: case for name, case in CASES.items() if case[3]}


def parts_of(steps):
    """The instructions of each effort."""
    program = steps.schedule.instructions
    parts = program_parts(op.opcode.value for op in program)
    return [program[part.start : part.stop] for part in parts]


def tiled(case="six tiles", **more):
    shape, changes, *_ = CASES[case]
    return tiled_model(shape), machine_of({**changes, **more})


@pytest.mark.parametrize("config", HOLDING.values(), ids=HOLDING)
@pytest.mark.parametrize("name", ["micro", "odd", "wide", "mean", "distilled", "one_patch"])
def test_whole_programs_are_in_order(name, config):
    for skipped in every_skip(SHAPES[name].depth):
        program = compile_steps(skipping(model_of(name), *skipped), config).schedule.instructions
        check_ordering(program, config)
        assert program[-1].fields == {"skipped": len(skipped)}


@pytest.mark.parametrize("name", ["micro", "uneven_heads", "odd", "mean"])
def test_programs_of_head_groups_are_in_order(name):
    for skipped in every_skip(SHAPES[name].depth):
        program = compile_steps(skipping(model_of(name), *skipped), GROUPED).schedule.instructions
        check_ordering(program, GROUPED)


@pytest.mark.parametrize("case", ON_CHIP)
def test_programs_in_tiles_are_in_order(case):
    model, config = tiled(case)
    for skipped in every_skip(model.config.depth):
        alone = skipping(model, *skipped)
        for candidate in plan(lower(alone, config), config).candidates:
            steps = finish(alone, config, candidate)
            check_ordering(steps.schedule.instructions, config)
            assert len(steps.allocation.tiling.tokens) > 1


@pytest.mark.parametrize(
    "semaphore",
    [Semaphore.RESIDUAL_READY, Semaphore.NORMALIZED, Semaphore.ARRAY_DONE, Semaphore.WEIGHTS_FREE],
)
@pytest.mark.parametrize("skipped", [(1,), (0, 1)])
def test_every_credit_is_needed(semaphore, skipped):
    model, config = tiled(column_tables=64)
    program = compile_steps(skipping(model, *skipped), config).schedule.instructions
    check_ordering(program, config)
    with pytest.raises(DisorderError):
        check_ordering(without(program, semaphore), config)


def test_the_tiles_before_the_last_say_that_they_are_over():
    """Behind a block without attention no norm2 of a tile says it."""
    model, config = tiled()
    steps = compile_steps(skipping(model, 1), config)
    schedule = steps.schedule
    fc2 = [
        op
        for name, op in zip(schedule.names, schedule.instructions, strict=True)
        if name == "blocks.1.mlp.fc2" and op.opcode is Opcode.FULLY_CONNECTED
    ]
    once = [op for op in fc2 if Semaphore.RESIDUAL_READY in op.signal]
    assert len(once) == 1
    program = list(schedule.instructions)
    pc = next(pc for pc, op in enumerate(program) if op is once[0])
    taker = next(
        n
        for n, op in enumerate(program)
        if schedule.names[n] == "blocks.2.norm1" and Semaphore.RESIDUAL_READY in op.wait
    )
    for n, field in ((pc, "signal"), (taker, "wait")):
        left = getattr(program[n], field) - {Semaphore.RESIDUAL_READY}
        program[n] = dataclasses.replace(program[n], **{field: left})
    with pytest.raises(DisorderError):
        check_ordering(program, config)


@pytest.mark.parametrize(
    "case", [None, "two tiles", "smallest row memory", "one slot of everything"]
)
@pytest.mark.parametrize("rule", ["selector", "cls_attention"])
def test_selections_before_blocks_without_attention(rule, case):
    model, config = (model_of("wide"), TINY) if case is None else tiled(case)
    depth = model.config.depth
    model = with_stages(model, [Stage(block=n, rule=rule) for n in range(1, depth)])
    read = range(depth - 1) if rule == "cls_attention" else ()
    for skipped in every_skip(depth):
        if set(skipped) & set(read):
            continue
        alone = skipping(model, *skipped)
        program = compile_steps(alone, config).schedule.instructions
        tokens = model.config.tokens
        for left in ([2] * depth, [tokens] * depth, [tokens - 1, 3, 3], [tokens // 2] * depth):
            check_ordering(program, config, left)


@pytest.mark.parametrize("case", [None, "two tiles", "six tiles"])
def test_lists_beside_blocks_without_attention(case):
    model, config = (model_of("wide"), TINY) if case is None else tiled(case, token_words=310)
    model = with_thresholds(masked(model))
    for skipped in every_skip(model.config.depth):
        check_ordering(
            compile_steps(skipping(model, *skipped), config).schedule.instructions, config
        )


def test_masks_of_skipped_blocks_need_no_machine_for_them():
    model = masked(model_of("micro"), blocks=[1])
    plain = dataclasses.replace(TINY, name="plain", attention_masks=False)
    with pytest.raises(CompileError, match=r"blocks\.1\.attn\.mask: needs attention_masks"):
        compile(model, plain)
    compile(skipping(model, 1), plain)


@pytest.mark.parametrize("config", GATED.values(), ids=GATED)
def test_efforts_are_parts_of_a_program(config):
    model = parting(model_of("micro"), (0,), (1,), ())
    steps = compile_steps(model, config)
    parts = parts_of(steps)
    alone = [compile_steps(skipping(model_of("micro"), *skip), config) for skip in ((0,), (1,))]
    alone.append(compile_steps(model_of("micro"), config))
    for number, (part, single) in enumerate(zip(parts, alone, strict=True)):
        program = single.schedule.instructions
        # but for places in WEIGHTS, and the end
        assert [_unplaced(op) for op in part[:-1]] == [_unplaced(op) for op in program[:-1]]
        check_ordering(part, config)
        names = steps.schedule.names[sum(map(len, parts[:number])) :][: len(part)]
        assert names == [f"efforts.{number}.{name}" for name in single.schedule.names]
        assert _loaded(part, steps.image, config) == _loaded(program, single.image, config)
    assert parts[0][:-1] == alone[0].schedule.instructions[:-1]
    for part, single, effort in zip(parts, alone, model.config.efforts, strict=True):
        end = part[-1]
        if part is parts[-1]:
            assert (end.opcode, end.fields) == (Opcode.HALT, {"skipped": 0})
            continue
        assert end.opcode is Opcode.GATE
        assert end.fields == {
            "token": single.allocation.regions["result"].base,
            "classes": model.config.classes,
            "multiplier": model["gate.mult"][0],
            "shift": model["gate.shift"][0],
            "threshold": effort.threshold,
            "skipped": len(effort.skipped),
        }
    prefixed = [
        f"efforts.{number}.{name}" for number, one in enumerate(alone) for name in one.image.tensors
    ]
    assert list(steps.image.tensors) == prefixed


def _unplaced(op):
    if op.opcode in (Opcode.LOAD_WEIGHTS, Opcode.LOAD_NORM) or (
        op.fields.get("window") is Window.WEIGHTS
    ):
        return dataclasses.replace(op, fields={**op.fields, "offset": 0})
    return op


def _loaded(program, image, config):
    """The bytes that each instruction loads from WEIGHTS."""
    out = []
    for op in program:
        f = op.fields
        if op.opcode is Opcode.LOAD_WEIGHTS:
            size = (1 + f["further_groups"]) * config.lanes * (8 + f["depth"])
        elif op.opcode is Opcode.LOAD_NORM:
            size = 8 * f["channels"]
        elif f.get("window") is Window.WEIGHTS:
            size = f["rows"] * f["words"] * config.lanes
        else:
            continue
        out.append(image.weights[f["offset"] : f["offset"] + size].tobytes())
        assert len(out[-1]) == size
    return out


@pytest.mark.parametrize("name", ["micro", "odd", "demo"])
def test_efforts_share_all_weights(name):
    """The last effort needs every weight: more efforts take no byte more."""
    model = model_of(name)
    dense = compile_steps(model, TINY)
    steps = compile_steps(parting(model, (1,), ()), TINY)
    assert len(steps.image.weights) == len(dense.image.weights)
    first = steps.parts[0].allocation.weights_bytes
    assert 0 < steps.shared_bytes == first < len(dense.image.weights)


def test_what_is_cut_differently_is_not_shared():
    """In other tiles a layer has other chunks: the same weights in other items."""
    shape, changes, *_ = SPILLED["in chunks"]
    model = tiled_model(shape)
    config = machine_of({"row_words": changes["row_words"], "token_words": 400})
    steps = compile_steps(parting(model, (0, 1, 2), ()), config)
    counts = [len(part.schedule.instructions) for part in steps.parts]
    assert sum(counts) == len(steps.image.program)
    assert steps.shared_bytes > 0


def test_one_effort_alone_is_as_before():
    model = model_of("micro")
    dense, also = compile(model, TINY), compile(skipping(model), TINY)
    assert np.array_equal(dense.program, also.program)
    assert np.array_equal(dense.weights, also.weights)
    low = compile(skipping(model, 1), TINY)
    assert len(low.program) < len(dense.program)
    assert not any("norm1" in name and "1." in name[:9] for name in low.names)
    assert decode(low.program[-1].tobytes()).fields == {"skipped": 1}


def test_the_program_alone_is_that_of_the_image():
    model = parting(model_of("micro"), (0,), ())
    schedule = compile_program(model, TINY)
    image = compile(model, TINY)
    assert [op.opcode.value for op in schedule.instructions] == image.program[:, 0].tolist()
    assert schedule.names == list(image.names)
    assert image.program.shape[1] == INSTRUCTION_BYTES


def test_a_machine_without_a_gate():
    plain = dataclasses.replace(TINY, name="plain", effort_gate=False)
    model = parting(model_of("micro"), (1,), ())
    with pytest.raises(CompileError) as error:
        compile(model, plain)
    assert str(error.value) == (
        "efforts: 2 of them need effort_gate, preset 'plain' has none (effort_gate=on)"
    )
    compile(skipping(model_of("micro"), 1), plain)


def test_images_of_several_efforts_are_files(tmp_path):
    from spec import image as image_format

    image = compile(parting(model_of("micro"), (1,), ()), TINY)
    image_format.save(image, tmp_path / "x.image")
    again = image_format.load(tmp_path / "x.image", TINY)
    assert again.tensors == image.tensors
    assert len(random_images(SHAPES["micro"], 1)) == 1
