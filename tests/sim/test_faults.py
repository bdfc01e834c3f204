"""A bad program or bus ends in the error state, with code and pc, and the next run is right."""

from dataclasses import replace

import numpy as np
import pytest

from compiler import compile
from golden_model import vit
from golden_model.machine import MachineError, run_program
from sim.machine import Options, Simulation
from spec import model_file
from spec.assembler import Instruction, decode, encode, rows
from spec.isa import FULLY_CONNECTED, HEADER, INSTRUCTION_BYTES, Opcode, Window
from spec.pixels import patches_of
from spec.presets import preset
from spec.registers import Error, Status
from spec.semaphores import Semaphore
from tests.joined import gate_of

CONFIG = preset("tiny")
MODEL = model_file.load("models/micro.safetensors")
GOOD = compile(MODEL, CONFIG)
WATCHDOG_CYCLES = 3000
HALT = encode(Instruction(opcode=Opcode.HALT, fields={"skipped": 0}))


def _find(opcode):
    """Program counter and instruction of the first of its kind."""
    for pc, word in enumerate(GOOD.program):
        instruction = decode(word.tobytes())
        if instruction.opcode is opcode:
            return pc, instruction
    raise LookupError(opcode)


def _with(pc, word):
    program = GOOD.program.copy()
    program[pc] = np.frombuffer(word, np.uint8)
    return program


def _changed(opcode, **fields):
    pc, instruction = _find(opcode)
    changed = replace(instruction, fields={**instruction.fields, **fields})
    return pc, _with(pc, encode(changed))


def _credits(opcode, **members):
    pc, instruction = _find(opcode)
    return pc, _with(pc, encode(replace(instruction, **members)))


def _reserved():
    pc, _ = _find(Opcode.NORMALIZE)
    word = bytearray(GOOD.program[pc].tobytes())
    word[7] |= 0x80
    return pc, _with(pc, bytes(word))


def _unknown_destination():
    pc, _ = _find(Opcode.FULLY_CONNECTED)
    word = int.from_bytes(GOOD.program[pc].tobytes(), "little")
    word |= 7 << HEADER.size + FULLY_CONNECTED["destination"].offset
    return pc, _with(pc, word.to_bytes(INSTRUCTION_BYTES, "little"))


def _endless():
    program = GOOD.program.copy()
    assert program[-1].tobytes() == HALT
    return len(program) - 1, program[:-1]


def _gated(behind=GOOD.program, **fields):
    """The program with a GATE in place of its HALT, and another one behind; the GATE's pc."""
    gate = gate_of(GOOD, 0)
    word = encode(replace(gate, fields={**gate.fields, **fields}))
    parts = [GOOD.program[:-1], np.frombuffer(word, np.uint8)[None], behind]
    return len(GOOD.program) - 1, np.concatenate(parts)


def _behind_a_gate(found):
    """A faulty program behind the GATE."""
    pc, program = found
    return len(GOOD.program) + pc, _gated(program)[1]


def _credit_over_a_gate():
    """A credit that is left at a GATE is not there behind it."""
    stored = frozenset({Semaphore.RESULT_STORED})
    pc, program = _gated(_credits(Opcode.ATTENTION, wait=stored)[1])
    store = decode(program[pc - 1].tobytes())
    assert store.opcode is Opcode.STORE_TOKENS
    word = encode(replace(store, signal=store.signal | stored))
    program[pc - 1] = np.frombuffer(word, np.uint8)
    return pc, program


PROGRAMS = {
    "opcode 0": (Error.OPCODE, (5, _with(5, bytes(INSTRUCTION_BYTES)))),
    "opcode 255": (Error.OPCODE, (7, _with(7, b"\xff" + bytes(INSTRUCTION_BYTES - 1)))),
    "reserved bit": (Error.OPCODE, _reserved()),
    "no rows": (Error.OPERAND, _changed(Opcode.FULLY_CONNECTED, rows=rows(0))),
    "no depth": (Error.OPERAND, _changed(Opcode.FULLY_CONNECTED, depth=0)),
    "too many keys": (Error.OPERAND, _changed(Opcode.ATTENTION, keys=rows(500))),
    "no live tokens": (Error.OPERAND, _changed(Opcode.LIVE, tokens=0)),
    "operand address": (
        Error.TOKEN_ADDRESS,
        _changed(Opcode.FULLY_CONNECTED, source=CONFIG.token_words),
    ),
    "result address": (
        Error.TOKEN_ADDRESS,
        _changed(Opcode.FULLY_CONNECTED, target=CONFIG.token_words - 1),
    ),
    "address of sums": (
        Error.TOKEN_ADDRESS,
        _changed(Opcode.FULLY_CONNECTED, accumulate=1, partial=CONFIG.token_words - 1),
    ),
    "unknown destination": (Error.OPERAND, _unknown_destination()),
    "norm address": (Error.TOKEN_ADDRESS, _changed(Opcode.NORMALIZE, target=0xFFFF)),
    "weight rows": (Error.ROW_ADDRESS, _changed(Opcode.LOAD_WEIGHTS, row=CONFIG.row_words)),
    "array rows": (Error.ROW_ADDRESS, _changed(Opcode.FULLY_CONNECTED, row=CONFIG.row_words)),
    "key rows": (Error.ROW_ADDRESS, _changed(Opcode.ATTENTION, key=CONFIG.row_words)),
    "load table": (
        Error.TABLE_ADDRESS,
        _changed(Opcode.LOAD_WEIGHTS, table=CONFIG.column_tables),
    ),
    "array table": (
        Error.TABLE_ADDRESS,
        _changed(Opcode.FULLY_CONNECTED, table=CONFIG.column_tables),
    ),
    "norm table": (Error.TABLE_ADDRESS, _changed(Opcode.NORMALIZE, table=CONFIG.norm_tables)),
    "load beyond window": (Error.WINDOW, _changed(Opcode.LOAD_WEIGHTS, offset=1 << 31)),
    "unaligned": (Error.WINDOW, _changed(Opcode.LOAD_TOKENS, offset=4)),
    "store to weights": (Error.WINDOW, _changed(Opcode.STORE_TOKENS, window=Window.WEIGHTS)),
    "store beyond window": (Error.WINDOW, _changed(Opcode.STORE_TOKENS, offset=1 << 20)),
    "program without end": (Error.WINDOW, _endless()),
    "foreign semaphore": (
        Error.SEMAPHORE,
        _credits(Opcode.FULLY_CONNECTED, signal=frozenset({Semaphore.NORMALIZED})),
    ),
    "credit a row of LIVE": (
        Error.OPERAND,
        _credits(Opcode.LIVE, token_signal=Semaphore.NORMALIZED),
    ),
    "too many channels": (Error.OPERAND, _changed(Opcode.NORMALIZE, channels=1024)),
    "deadlock": (
        Error.WATCHDOG,
        _credits(Opcode.ATTENTION, wait=frozenset({Semaphore.RESULT_STORED})),
    ),
    "gate of no classes": (Error.OPERAND, _gated(classes=0)),
    "gate's shift": (Error.OPERAND, _gated(shift=49)),
    "gate's logits": (Error.TOKEN_ADDRESS, _gated(token=CONFIG.token_words - 1)),
    "gate's last logits": (
        Error.TOKEN_ADDRESS,
        _gated(token=CONFIG.token_words - 100, classes=65_535),
    ),
    "opcode behind a gate": (
        Error.OPCODE,
        _behind_a_gate((5, _with(5, bytes(INSTRUCTION_BYTES)))),
    ),
    "operand behind a gate": (
        Error.TOKEN_ADDRESS,
        _behind_a_gate(_changed(Opcode.FULLY_CONNECTED, source=CONFIG.token_words)),
    ),
    "no end behind a gate": (Error.WINDOW, _behind_a_gate(_endless())),
    "nothing behind a gate": (Error.WINDOW, (len(GOOD.program), _gated(GOOD.program[:0])[1])),
    "credit over a gate": (Error.WATCHDOG, _credit_over_a_gate()),
}


@pytest.fixture(scope="module")
def picture():
    pixels = np.random.default_rng(3).integers(0, 256, (1, 12, 12), np.uint8)
    return patches_of(pixels, MODEL.config)[0], vit(MODEL, pixels)[0]


@pytest.mark.parametrize("name", PROGRAMS)
def test_golden_machine_refuses(name, picture):
    error, (_, program) = PROGRAMS[name]
    windows = {
        Window.WEIGHTS: GOOD.weights.tobytes(),
        Window.INPUT: GOOD.pack_input(picture[0]),
        Window.SCRATCH: b"",
        Window.RESULT: bytes(GOOD.result_bytes),
    }
    with pytest.raises(MachineError) as refused:
        run_program(CONFIG, program, windows)
    assert refused.value.code is error


@pytest.mark.parametrize(("simulator", "every"), [("verilator", 1), ("icarus", 8)])
def test_hardware_stops_and_recovers(simulator, every, picture):
    """All faulty programs lie one behind the other; a good run follows `every` so many."""
    patches, logits = picture
    programs = [GOOD.program] + [program for _, (_, program) in PROGRAMS.values()]
    blocks, offsets, size = [], [], 0
    for program in programs:
        padding = -program.size % 64
        offsets.append(size)
        blocks.append(np.concatenate([program.ravel(), np.zeros(padding, np.uint8)]))
        size += program.size + padding
    image = replace(GOOD, program=np.concatenate(blocks).reshape(-1, INSTRUCTION_BYTES))

    def options(number):
        windows = {"PROGRAM": (offsets[number], programs[number].size)}
        return Options(
            windows=windows, watchdog_cycles=WATCHDOG_CYCLES, max_cycles=50_000, trace=False
        )

    numbers = [0]
    for number in range(1, len(programs)):
        numbers += [number, 0] if number % every == 0 else [number]
    runs = [options(number) for number in numbers]
    outcomes = Simulation.build(CONFIG, simulator).run(image, [patches] * len(runs), runs)
    assert len(outcomes) == len(runs), "a run could not be cleared"
    good_cycles = outcomes[0].cycles
    names = list(PROGRAMS)
    for number, outcome in zip(numbers, outcomes, strict=True):
        if number == 0:
            assert outcome.status == Status.DONE
            assert (outcome.error, outcome.error_pc) == (Error.NONE, 0)
            assert outcome.cycles == good_cycles
            np.testing.assert_array_equal(outcome.logits, logits)
            continue
        name = names[number - 1]
        error, (pc, _) = PROGRAMS[name]
        assert outcome.status & Status.ERROR, name
        assert outcome.ended == "interrupt", name
        assert outcome.error is error, f"{name}: got {outcome.error}, expected {error}"
        if error is not Error.WATCHDOG:
            assert outcome.error_pc == pc, name
        assert outcome.cycles < 3 * good_cycles + WATCHDOG_CYCLES, name
        assert outcome.violations == 0, name


BUS = {
    "weights answer SLVERR": (Error.BUS_READ, "WEIGHTS", "slverr"),
    "program answers DECERR": (Error.BUS_READ, "PROGRAM", "decerr"),
    "result answers SLVERR": (Error.BUS_WRITE, "RESULT", "slverr"),
    "input never answers": (Error.WATCHDOG, "INPUT", "silent"),
}


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
@pytest.mark.parametrize("name", BUS)
def test_bus_faults(simulator, name, picture):
    """A refused transfer drains; a silent peer is left to the watchdog."""
    patches, logits = picture
    error, window, fault = BUS[name]
    good = Options(watchdog_cycles=WATCHDOG_CYCLES, max_cycles=50_000, trace=False)
    bad = replace(good, fault=fault, fault_window=window, fault_last=255, latency=20)
    runs = [bad, good] if fault != "silent" else [bad]
    outcomes = Simulation.build(CONFIG, simulator).run(GOOD, [patches] * len(runs), runs)
    first = outcomes[0]
    assert first.status & Status.ERROR
    assert first.error is error
    assert first.violations == 0
    if len(runs) == 2:
        assert first.status_after_clear == Status(0)
        assert outcomes[1].status == Status.DONE
        np.testing.assert_array_equal(outcomes[1].logits, logits)
