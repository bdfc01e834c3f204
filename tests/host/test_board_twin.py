"""The board in software: each answer, and the registers."""

import pytest

from host.frames import Reply, Request
from host.twin_registers import TwinRegisters
from spec.board_memory import board_memory
from spec.isa import Opcode, Window
from spec.link import BOARD_REGISTERS, LINK_MAGIC, LINK_VERSION, REGISTERS_AT, Answer, Operation
from spec.registers import REGISTERS, Control, Error, Status, counter_address, window_address
from tests.host.boards import MEMORY_BYTES, TINY, micro, twin


def request(operation=Operation.READ, address=0, count=1, tag=5, payload=b""):
    return Request(tag=tag, operation=operation, address=address, count=count, payload=payload)


def reply(answer, tag=5, payload=b""):
    return Reply(tag=tag, answer=answer, payload=payload).encode()


def with_byte(frame, at, value):
    content = bytearray(frame)
    content[at] = value
    return bytes(content)


BROKEN = {
    "checksum": (with_byte(request().encode(), 9, 0), Answer.CHECKSUM, 5),
    "operation": (with_byte(request().encode(), 2, 3), Answer.OPERATION, 5),
    "no words": (request(count=0).encode(), Answer.COUNT, 5),
    "too many words": (request(count=65).encode(), Answer.COUNT, 5),
    "cut": (request().encode()[:-1], Answer.TIMEOUT, 5),
    "cut before its tag": (b"S", Answer.TIMEOUT, 0),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_frame_is_answered_after_a_silence(name):
    frame, answer, tag = BROKEN[name]
    board = twin()
    assert board.receive(frame) == b""
    if answer != Answer.TIMEOUT:
        assert board.receive(request().encode()) == b"", "all bytes up to the silence are ignored"
    assert board.silence() == reply(answer, tag)
    assert board.silence() == b""
    assert board.receive(request().encode()) == reply(Answer.OK, payload=bytes(4))
    assert board.broken_frames == 1


def test_a_byte_without_its_stop_bit():
    board = twin()
    board.framing_error()
    assert board.silence() == b""
    board.receive(request().encode()[:4])
    board.framing_error()
    assert board.receive(request().encode()) == b""
    assert board.silence() == reply(Answer.FRAMING)


@pytest.mark.parametrize(
    ("address", "count"),
    [
        (2, 1),
        (MEMORY_BYTES, 1),
        (MEMORY_BYTES - 4, 2),
        (0x7FFF_FFFC, 1),
        (REGISTERS_AT + 4096, 1),
        (REGISTERS_AT + 4092, 2),
        (0xFFFF_FFFC, 2),
    ],
)
def test_addresses_that_are_not_there(address, count):
    board = twin()
    assert board.receive(request(address=address, count=count).encode()) == reply(Answer.ADDRESS)
    payload = bytes(4 * count)
    frame = request(Operation.WRITE, address, count, payload=payload).encode()
    assert board.receive(frame) == reply(Answer.ADDRESS)
    assert board.broken_frames == 2


def test_the_last_addresses_that_are_there():
    board = twin()
    for address in (MEMORY_BYTES - 8, REGISTERS_AT + 4088):
        answer = board.receive(request(address=address, count=2).encode())
        assert answer == reply(Answer.OK, payload=bytes(8))


def test_the_board_s_registers():
    board = twin(clock_hz=25_000_000)
    board.receive(b"S")
    board.silence()
    count = len(BOARD_REGISTERS)
    address = REGISTERS_AT + BOARD_REGISTERS["LINK_ID"]
    values = (LINK_MAGIC, LINK_VERSION, MEMORY_BYTES, 25_000_000, 1)
    payload = b"".join(value.to_bytes(4, "little") for value in values)
    answer = board.receive(request(address=address, count=count).encode())
    assert answer == reply(Answer.OK, payload=payload)
    frame = request(Operation.WRITE, address, count, payload=bytes(4 * count))
    assert board.receive(frame.encode()) == reply(Answer.OK)
    assert board.receive(request(address=address, count=count).encode()) == answer


def test_reset_keeps_the_memory_only():
    board = twin()
    board.memory[8:12] = b"abcd"
    board.machine.write(REGISTERS["WATCHDOG"], 5)
    board.receive(request().encode()[:5])
    board.reset()
    assert board.silence() == b""
    assert board.memory[8:12] == b"abcd"
    assert board.machine.read(REGISTERS["WATCHDOG"]) == 1_000_000


def started(**changes):
    """Registers with micro in memory and started; changes: window -> (base, limit)."""
    image, inputs = micro()
    layout = board_memory(image)
    memory = bytearray(MEMORY_BYTES)
    memory[: len(layout.content)] = layout.content
    registers = TwinRegisters(TINY, memory)
    for window in Window:
        values = changes.get(window.name, (layout.bases[window], layout.limits[window]))
        for address, value in zip(window_address(window), values, strict=True):
            registers.write(address, value)
    base = layout.bases[Window.INPUT]
    content = image.pack_input(inputs[0])
    memory[base : base + len(content)] = content
    registers.write(REGISTERS["CONTROL"], Control.START.value)
    return registers, memory, layout


def test_the_life_of_a_run():
    registers, _, _ = started()
    assert registers.read(REGISTERS["STATUS"]) == Status.BUSY.value
    assert registers.read(REGISTERS["STATUS"]) == Status.DONE.value
    macs = registers.read(counter_address("macs_done"))
    assert macs > 0
    registers.write(REGISTERS["CONTROL"], Control.START.value)
    assert registers.status == Status.DONE, "START is ignored unless STATUS is 0"
    registers.write(REGISTERS["CONTROL"], Control.START.value | Control.CLEAR.value)
    assert registers.status == Status(0), "CLEAR wins over START"
    assert registers.read(counter_address("macs_done")) == macs


def test_clear_stops_a_program():
    registers, memory, layout = started()
    base, size = layout.bases[Window.RESULT], layout.limits[Window.RESULT]
    registers.write(REGISTERS["CONTROL"], Control.CLEAR.value)
    assert registers.read(REGISTERS["STATUS"]) == 0
    assert bytes(memory[base : base + size]) == bytes(size)


@pytest.mark.parametrize(
    ("window", "base", "limit", "error"),
    [
        ("PROGRAM", 64, 64, Error.WINDOW),
        ("WEIGHTS", 2752, 64, Error.WINDOW),
        ("WEIGHTS", MEMORY_BYTES - 64, 7616, Error.BUS_READ),
        ("PROGRAM", MEMORY_BYTES, 2656, Error.BUS_READ),
        ("RESULT", MEMORY_BYTES, 32, Error.BUS_WRITE),
        ("RESULT", MEMORY_BYTES, 16, Error.WINDOW),
        ("INPUT", 0xFFFF_FFC0, 144, Error.BUS_READ),
        ("PROGRAM", 0, 2656, Error.OPCODE),
    ],
)
def test_errors(window, base, limit, error):
    registers, _, _ = started(**{window: (base, limit)})
    registers.read(REGISTERS["STATUS"])
    assert registers.read(REGISTERS["STATUS"]) == Status.ERROR.value
    assert Error(registers.read(REGISTERS["ERROR_CODE"])) == error
    pc = registers.read(REGISTERS["ERROR_PC"])
    image, _ = micro()
    if window == "RESULT":
        assert image.program[pc, 0] == Opcode.STORE_TOKENS.value
    registers.write(REGISTERS["CONTROL"], Control.CLEAR.value)
    assert [registers.read(REGISTERS[name]) for name in ("STATUS", "ERROR_CODE", "ERROR_PC")] == [
        0,
        0,
        0,
    ]
