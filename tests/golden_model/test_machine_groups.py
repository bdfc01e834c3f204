"""Several head groups: the compiled program in the golden machine against the network."""

import dataclasses

import pytest

from compiler import compile_steps
from golden_model.machine import MachineError
from spec.config import SIEVES, Config, ConfigError
from spec.isa import Destination, Opcode
from spec.presets import PRESETS, preset
from spec.registers import Error
from spec.semaphores import Semaphore
from tests.compiler.ordering import check_ordering
from tests.golden_model.test_machine import change, check_model, op, run
from tests.grouped import GROUPED, MODELS, model_of

DIGESTS = {
    "tiny": 0x152E6833468E21FC,
    "ulx3s,logic_lanes=0,logic_multipliers=on": 0x7B54606D015496E5,
}


def of_groups(count, **changes):
    return dataclasses.replace(GROUPED, head_groups=count, **changes)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("groups", [2, 3, 4])
def test_vit_is_machine_and_programs_are_in_order(name, groups):
    config = of_groups(groups, token_words=280)
    check_model(model_of(name), config, seed=groups)
    check_ordering(compile_steps(model_of(name), config).schedule.instructions, config)


def test_the_models_try_every_part():
    programs = {name: compile_steps(model_of(name), GROUPED) for name in MODELS}
    spilled = [plan.allocation.tiling.spilled for plan in programs.values()]
    tiled = [bool(plan.allocation.tiling.tokens) for plan in programs.values()]
    assert any(spilled)
    assert any(a and not b for a, b in zip(tiled, spilled, strict=True))
    ops = [op for plan in programs.values() for op in plan.schedule.instructions]
    at_work = {op.fields.get("further_groups") for op in ops if op.opcode == Opcode.ATTENTION}
    assert at_work == {0, 1, 2}
    chunks = [op for op in ops if op.fields.get("destination") == Destination.PARTIAL]
    assert {-(-op.fields["columns"] // GROUPED.lanes) for op in chunks} == {2}


def test_each_load_and_instruction_is_there_once_for_all_groups():
    one, three = (
        compile_steps(model_of("uneven_heads"), config).schedule.instructions
        for config in (of_groups(1), GROUPED)
    )
    heads = [op for op in one if op.opcode == Opcode.ATTENTION]
    side_by_side = [op for op in three if op.opcode == Opcode.ATTENTION]
    assert (len(heads), len(side_by_side)) == (3, 1)
    scales = next(op for op in three if op.opcode == Opcode.HEAD_SCALES).fields
    for name in ("score_multiplier", "output_shift"):
        beside = [side_by_side[0].fields[name], *(scales[f"{name}_{group}"] for group in (1, 2))]
        assert beside == [head.fields[name] for head in heads]


def test_one_group_is_the_machine_it_was():
    later = dict.fromkeys((*SIEVES, "effort_gate"), False)
    later |= dict.fromkeys(("token_selector", "cls_scores"), True)
    for name, digest in DIGESTS.items():
        assert dataclasses.replace(preset(name), **later).digest() == digest
    digests = {dataclasses.replace(preset("ulx3s"), head_groups=n).digest() for n in range(1, 5)}
    assert len(digests) == 4


def test_zcu102():
    config = preset("zcu102")
    assert config.macs == 1536
    assert config.sram_bytes > 3 * config.row_words * config.banks * config.lanes
    assert list(PRESETS) == ["tiny", "ulx3s", "small", "asic512", "zcu102"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"head_groups": 5}, "head_groups must be at most 4, not 5"),
        ({"head_groups": 0}, "head_groups must be positive, not 0"),
        ({"head_groups": 4, "lanes": 64}, r"at most 255 \(a field of the .*\), not 256"),
        ({"head_groups": 2, "token_words": 65536}, "token_words must be below 65,536 with several"),
    ],
)
def test_impossible_groups(changes, text):
    with pytest.raises(ConfigError, match=f"preset 'grouped': .*{text}"):
        Config(**{**dataclasses.asdict(GROUPED), **changes})


SCALES = dict.fromkeys(
    (
        f"{name}_{group}"
        for group in (1, 2, 3)
        for name in ("score_multiplier", "score_shift", "output_multiplier", "output_shift")
    ),
    0,
)
GIVES = frozenset({Semaphore.ARRAY_DONE})


@pytest.mark.parametrize(
    ("program", "groups", "code", "text"),
    [
        (change(2, columns=9), 1, Error.OPERAND, "9 columns, must be 1..8"),
        (change(2, columns=17), 2, Error.OPERAND, "17 columns, must be 1..16"),
        (change(1, further_groups=2), 2, Error.OPERAND, "2 further head groups, there are 1"),
        (change(1, further_groups=1), 2, Error.WINDOW, "bytes 144..287 lie beyond window WEIGHTS"),
        (change(2, columns=16, target=197, group_words=1), 2, Error.TOKEN_ADDRESS, "word 200"),
        ([op(Opcode.HEAD_SCALES, **SCALES)], 1, Error.OPCODE, "a machine of one head group"),
        ([op(Opcode.HEAD_SCALES, signal=GIVES, **SCALES)], 2, Error.SEMAPHORE, "no credits"),
    ],
)
def test_bad_instructions(program, groups, code, text):
    with pytest.raises(MachineError, match=text) as error:
        run(program, **{**dataclasses.asdict(of_groups(groups)), "row_words": 512})
    assert error.value.code == code
