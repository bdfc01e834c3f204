import pytest
from amaranth.hdl import Shape
from amaranth.lib import data, enum
from hypothesis import given, settings
from hypothesis import strategies as st

from spec.assembler import (
    AssemblerError,
    Instruction,
    decode,
    disassemble,
    encode,
    live_rows,
    resolve_rows,
    rows,
)
from spec.isa import BODIES, HEADER, Opcode
from spec.registers import Error
from spec.semaphores import Queue, Semaphore


def values(shape):
    if isinstance(shape, data.StructLayout):
        return st.fixed_dictionaries({name: values(field.shape) for name, field in shape})
    if isinstance(shape, type) and issubclass(shape, enum.Enum):
        return st.sampled_from(list(shape))
    shape = Shape.cast(shape)
    low = -(1 << shape.width - 1) if shape.signed else 0
    return st.integers(low, low + (1 << shape.width) - 1)


SEMAPHORES = st.sampled_from(list(Semaphore))
INSTRUCTIONS = st.sampled_from(list(Opcode)).flatmap(
    lambda opcode: st.builds(
        Instruction,
        opcode=st.just(opcode),
        fields=values(BODIES[opcode]),
        wait=st.frozensets(SEMAPHORES),
        signal=st.frozensets(SEMAPHORES),
        token_wait=st.none() | SEMAPHORES,
        token_signal=st.none() | SEMAPHORES,
        row_limit=st.integers(0, 4095),
    )
)
CODES = (Error.OPCODE, Error.OPERAND, Error.SEMAPHORE, Error.WINDOW)
LIVE = Instruction(opcode=Opcode.LIVE, fields={"tokens": 7})


@given(INSTRUCTIONS)
def test_round_trip(instruction):
    assert decode(encode(instruction)) == instruction


@given(INSTRUCTIONS)
@settings(max_examples=30)
def test_layouts_agree(instruction):
    def plain(value):
        return value.value if isinstance(value, enum.Enum) else value

    word = int.from_bytes(encode(instruction), "little")
    header = HEADER.from_bits(word & ((1 << HEADER.size) - 1))
    assert header.opcode == instruction.opcode
    assert header.wait == sum(1 << s.value for s in instruction.wait)
    body = BODIES[instruction.opcode]
    assert word >> HEADER.size == body.const(dict(instruction.fields)).as_bits()


@given(st.binary(min_size=32, max_size=32))
def test_any_bytes_decode_or_raise(word):
    try:
        instruction = decode(word)
    except AssemblerError as error:
        assert error.code in CODES  # noqa: PT017 - either outcome is right
    else:
        assert decode(encode(instruction)) == instruction
    assert disassemble([word])


def test_little_endian_opcode_first():
    assert encode(LIVE)[0] == Opcode.LIVE.value
    assert encode(LIVE)[8] == 7


def test_rows():
    assert resolve_rows(rows(3), live=10) == 3
    assert resolve_rows(live_rows(), live=10) == 10
    assert resolve_rows(live_rows(1), live=10) == 9
    assert [resolve_rows(live_rows(4), live=live, limit=3) for live in (2, 4, 5, 9)] == [0, 0, 1, 3]
    assert resolve_rows(rows(5), live=10, limit=3) == 5
    assert resolve_rows(live_rows(4), live=2) == -2


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"tokens": 4096}, "LIVE: tokens must lie in 0..4095, not 4096"),
        ({"tokens": -1}, "LIVE: tokens must lie in 0..4095, not -1"),
        ({"token": 1}, "LIVE: fields must be tokens, not ['token']"),
        ({}, "LIVE: fields must be tokens, not []"),
    ],
)
def test_bad_fields(fields, text):
    with pytest.raises(AssemblerError) as error:
        encode(Instruction(opcode=Opcode.LIVE, fields=fields))
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("word", "code", "text"),
    [
        (bytes(32), Error.OPCODE, "undefined opcode 0"),
        (b"\x63" + bytes(31), Error.OPCODE, "undefined opcode 99"),
        (b"\x09" + bytes(6) + b"\x80" + bytes(24), Error.OPCODE, "reserved header bits"),
        (bytes(3), Error.OPERAND, "an instruction has 32 bytes, not 3"),
    ],
)
def test_bad_words(word, code, text):
    with pytest.raises(AssemblerError, match=text) as error:
        decode(word)
    assert error.value.code == code


def test_undefined_window():
    word = int.from_bytes(bytes([Opcode.LOAD_TOKENS.value]) + bytes(31), "little")
    word |= 7 << HEADER.size + BODIES[Opcode.LOAD_TOKENS]["window"].offset
    with pytest.raises(AssemblerError, match="LOAD_TOKENS: window has no value 7") as error:
        decode(word.to_bytes(32, "little"))
    assert error.value.code == Error.WINDOW


def test_disassembly():
    instruction = Instruction(
        opcode=Opcode.LIVE, fields={"tokens": 7}, signal=frozenset({Semaphore.LIVE_READY})
    )
    text = disassemble([encode(instruction), bytes(32)], {0: "live"})
    first, second = text.splitlines()
    assert first.split() == [
        "0", "vector", "LIVE", "tokens=7", "signal=LIVE_READY", ";", "live",
    ]  # fmt: skip
    assert second.endswith("(undefined opcode 0)")
    assert instruction.queue == Queue.VECTOR
