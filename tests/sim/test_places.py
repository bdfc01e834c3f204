"""Keys and values that go to places: a bad list of places stops the machine, with the right pc."""

from dataclasses import replace

import numpy as np
import pytest

from compiler import compile
from golden_model.machine import MachineError, run_program
from sim.machine import Options, Simulation
from spec import model_file
from spec.assembler import decode, encode
from spec.isa import Destination, Opcode, Window
from spec.masks import GROUP_BITS, POSITION
from spec.pixels import patches_of
from spec.presets import preset
from spec.registers import Error, Status
from tests.random_models import random_images
from tests.sieved_models import masked

CONFIG = preset("tiny")
MODEL = masked(model_file.load("models/micro.safetensors"), 0.3)
GOOD = compile(MODEL, CONFIG)
PATCHES = patches_of(random_images(MODEL.config, 1, seed=7), MODEL.config)[0]


def _found(program, opcode, **fields):
    """Program counter and instruction of the first of its kind with such fields."""
    for pc, word in enumerate(program):
        instruction = decode(word.tobytes())
        if instruction.opcode is opcode and fields.items() <= instruction.fields.items():
            return pc, instruction
    raise LookupError(opcode)


def _changed(pc, instruction, **fields):
    program = GOOD.program.copy()
    changed = replace(instruction, fields={**instruction.fields, **fields})
    program[pc] = np.frombuffer(encode(changed), np.uint8)
    return replace(GOOD, program=program)


SIEVE = _found(GOOD.program, Opcode.SIEVE, placed=1)
KEYS = _found(GOOD.program[SIEVE[0] :], Opcode.FULLY_CONNECTED, destination=Destination.ROWS)
PC = SIEVE[0] + KEYS[0]
"""Of the first instruction that writes to places."""


def _with_place(**place):
    """The image with another first entry in its list of places."""
    load = next(
        instruction.fields
        for word in GOOD.program
        if (instruction := decode(word.tobytes())).opcode is Opcode.LOAD_TOKENS
        and instruction.fields["window"] == Window.WEIGHTS
        and 0
        <= SIEVE[1].fields["positions"] - instruction.fields["token"]
        < instruction.fields["words"] * instruction.fields["rows"]
    )
    at = load["offset"] + (SIEVE[1].fields["positions"] - load["token"]) * CONFIG.lanes
    weights = GOOD.weights.copy()
    weights[at : at + 2] = list(POSITION.const(place).as_bits().to_bytes(2, "little"))
    return replace(GOOD, weights=weights)


CASES = {
    "bank": (Error.INDEX, _with_place(bank=CONFIG.banks)),
    "group": (Error.INDEX, _with_place(group=1 << GROUP_BITS)),
    "group of all banks": (Error.INDEX, _with_place(group=200, all_banks=1)),
    "list of places": (Error.TOKEN_ADDRESS, _changed(*SIEVE, positions=CONFIG.token_words)),
    "row address": (Error.ROW_ADDRESS, _changed(PC, KEYS[1], target=CONFIG.row_words)),
}


@pytest.mark.parametrize("name", CASES)
def test_golden_machine_refuses(name):
    error, image = CASES[name]
    windows = {
        Window.WEIGHTS: image.weights.tobytes(),
        Window.INPUT: image.pack_input(PATCHES),
        Window.SCRATCH: b"",
        Window.RESULT: bytes(image.result_bytes),
    }
    with pytest.raises(MachineError) as refused:
        run_program(CONFIG, image.program, windows)
    assert (refused.value.code, refused.value.pc) == (error, PC)


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_hardware_stops(simulator):
    machine = Simulation.build(CONFIG, simulator)
    for name, (error, image) in CASES.items():
        (outcome,) = machine.run(image, [PATCHES], Options(trace=False))
        assert outcome.status & Status.ERROR, name
        assert (outcome.error, outcome.error_pc) == (error, PC), name
