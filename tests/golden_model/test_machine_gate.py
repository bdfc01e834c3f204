"""GATE on the golden machine: programs of several parts, what begins anew and what stays."""

from dataclasses import replace

import numpy as np
import pytest

from compiler import compile
from golden_model.machine import MachineError, machine, run_program
from golden_model.trace import assemble_tensors
from spec import model_file
from spec.assembler import Instruction, encode
from spec.isa import Opcode, Window
from spec.pixels import patches_of
from spec.presets import preset
from spec.registers import Error
from spec.semaphores import Semaphore
from tests.joined import MODELS, certain_threshold, execute, instructions_of, joined, with_program
from tests.random_models import random_images

TINY = preset("tiny")


@pytest.fixture(scope="module")
def parts():
    """Three images, a picture, and each image's own run of it."""
    models = [model_file.load(f"models/{name}.safetensors") for name in MODELS]
    images = [compile(model, TINY) for model in models]
    patches = patches_of(random_images(models[0].config, 1, seed=5), models[0].config)[0]
    return images, patches, [machine(image, TINY, patches) for image in images]


@pytest.mark.parametrize("taken", [1, 2, 3])
def test_each_part_is_a_program_of_its_own(parts, taken):
    images, patches, alone = parts
    edges = [certain_threshold(one.logits) for one in alone]
    thresholds = [edge - (number + 1 != taken) for number, edge in enumerate(edges[:2])]
    assert min(thresholds) >= 0
    whole = joined(images, thresholds, skipped=(2, 1, 7))
    found = execute(whole, TINY, patches, seed=3)
    first = 0
    for image, one in zip(images[:taken], alone, strict=False):
        last = first + len(image.program)
        own = {pc - first: each for pc, each in found.writes.items() if first <= pc < last}
        tensors = assemble_tensors(image, own)
        assert all((tensors[name] == one.tensors[name]).all() for name in one.tensors)
        first = last
    assert max(found.writes) < first
    assert (found.efforts, found.attentions_skipped) == (taken, (2, 3, 10)[taken - 1])
    assert (whole.unpack_result(found.windows[Window.RESULT]) == alone[taken - 1].logits).all()
    assert found.live_tokens == alone[taken - 1].execution.live_tokens
    assert found.credits == {}


def test_a_program_of_one_part(parts):
    _, _, alone = parts
    for one in alone:
        assert (one.execution.efforts, one.execution.attentions_skipped) == (1, 0)


def test_credits_and_settings_do_not_pass_the_gate(parts):
    """A part that leaves a credit; behind the gate, who takes it waits in vain."""
    images, patches, _ = parts
    whole = joined([images[1], images[1]], [0])
    program = instructions_of(whole)
    gate = next(pc for pc, op in enumerate(program) if op.opcode is Opcode.GATE)
    stores = [pc for pc, op in enumerate(program) if op.opcode is Opcode.STORE_TOKENS]
    left = frozenset({Semaphore.RESULT_STORED})
    program[stores[0]] = replace(program[stores[0]], signal=left)
    found = execute(with_program(whole, program), TINY, patches)
    assert found.credits == {}
    load = next(pc for pc, op in enumerate(program) if pc > gate and op.opcode is Opcode.ATTENTION)
    program[load] = replace(program[load], wait=program[load].wait | left)
    with pytest.raises(MachineError, match="RESULT_STORED") as error:
        execute(with_program(whole, program), TINY, patches)
    assert error.value.code is Error.WATCHDOG


def gate(**changes):
    fields = {"token": 0, "classes": 10, "multiplier": 1, "shift": 0, "threshold": 0, "skipped": 0}
    return Instruction(opcode=Opcode.GATE, fields={**fields, **changes})


HALT = Instruction(opcode=Opcode.HALT, fields={"skipped": 3})


def run(*program, config=TINY):
    words = np.frombuffer(b"".join(map(encode, program)), np.uint8).reshape(-1, 32)
    return run_program(config, words, {})


def test_equal_logits():
    """Token memory of zeros: an entropy of log2(10) = 3.32 bits, in units of 2**-10."""
    assert run(gate(threshold=3420, skipped=2), HALT).efforts == 1
    found = run(gate(threshold=3390, skipped=2), HALT)
    assert (found.efforts, found.attentions_skipped) == (2, 5)


@pytest.mark.parametrize(
    ("program", "code", "pc", "text"),
    [
        ([gate(classes=0), HALT], Error.OPERAND, 0, "no classes"),
        ([gate(), gate(shift=49), HALT], Error.OPERAND, 1, "shift 49, must be 0..48"),
        ([gate(token=4094), HALT], Error.TOKEN_ADDRESS, 0, "token word 4096 lies beyond"),
        ([gate(classes=65_535), HALT], Error.TOKEN_ADDRESS, 0, "token word 16383"),
        ([gate()], Error.WINDOW, 1, "the program ends without HALT"),
        ([replace(gate(), row_limit=0), gate(classes=0)], Error.OPERAND, 1, "no classes"),
    ],
)
def test_faults(program, code, pc, text):
    with pytest.raises(MachineError, match=text) as error:
        run(*program)
    assert (error.value.code, error.value.pc) == (code, pc)


def test_the_last_word_of_token_memory():
    assert run(gate(token=4093, threshold=4000), HALT).efforts == 1


def test_a_gate_that_is_certain_may_be_the_last():
    assert run(gate(threshold=4000, skipped=9)).attentions_skipped == 9


def test_a_machine_without_gate():
    with pytest.raises(MachineError, match="GATE on a machine without effort_gate") as error:
        run(gate(), HALT, config=replace(TINY, effort_gate=False))
    assert error.value.code is Error.OPCODE
