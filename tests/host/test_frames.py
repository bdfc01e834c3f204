"""Bytes of frames, by hand and by any content."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.frames import Reply, Request
from host.link import Link
from spec.link import MAX_WORDS, Answer, Operation
from tests.host.boards import TwinTransport, twin


def crc16(content):
    """CRC-16/IBM-3740, bit by bit."""
    value = 0xFFFF
    for byte in content:
        for bit in range(7, -1, -1):
            top = (value >> 15) ^ (byte >> bit & 1)
            value = (value << 1 & 0xFFFF) ^ (0x1021 if top else 0)
    return value


def test_a_request_by_hand():
    frame = Request(tag=7, operation=Operation.READ, address=0x80000014, count=2).encode()
    content = bytes([7, 1, 2, 0x14, 0, 0, 0x80])
    assert frame == b"S" + content + crc16(content).to_bytes(2, "big")


def test_a_reply_by_hand():
    content = bytes([9, 0, 1, 1, 2, 3, 4])
    frame = Reply(tag=9, answer=Answer.OK, payload=b"\1\2\3\4").encode()
    assert frame == b"R" + content + crc16(content).to_bytes(2, "big")


def test_the_catalogue_s_check_value():
    assert crc16(b"123456789") == 0x29B1


words = st.binary(min_size=4, max_size=4 * MAX_WORDS).map(lambda b: b[: len(b) // 4 * 4])


@settings(deadline=None)
@given(content=words, address=st.integers(0, 1000).map(lambda n: 4 * n), noise=st.binary())
def test_what_is_written_is_read(content, address, noise):
    """Any content through any number of frames, the line noisy before."""
    board = twin()
    link = Link(TwinTransport(board))
    board.receive(noise)
    link.write(address, content * 3)
    assert link.read(address, 3 * len(content)) == content * 3
    assert bytes(board.memory[address : address + 3 * len(content)]) == content * 3


@given(noise=st.binary(max_size=300), flips=st.lists(st.integers(0, 299), max_size=4))
@settings(max_examples=300, deadline=None)
def test_after_any_bytes_and_a_silence_a_request_is_answered(noise, flips):
    """Noise that is mostly frames with some bits wrong."""
    board = twin()
    frame = Request(tag=3, operation=Operation.WRITE, address=16, count=3, payload=bytes(range(12)))
    content = bytearray(frame.encode() + noise)
    for bit in flips:
        content[bit % len(content)] ^= 1 << bit % 8
    board.receive(bytes(content))
    board.silence()
    ask = Request(tag=200, operation=Operation.READ, address=0x80000000, count=1)
    reply = Reply(tag=200, answer=Answer.OK, payload=b"TIVS")
    assert board.receive(ask.encode()) == reply.encode()


@pytest.mark.parametrize("bit", range(8 * 22))
def test_no_bit_of_a_frame_may_be_wrong(bit):
    """Any single wrong bit of a WRITE: an answer that is not OK, and nothing is written."""
    board = twin()
    frame = bytearray(
        Request(
            tag=3, operation=Operation.WRITE, address=16, count=3, payload=bytes(range(12))
        ).encode()
    )
    assert len(frame) == 22
    frame[bit // 8] ^= 1 << bit % 8
    before = bytes(board.memory)
    answer = board.receive(bytes(frame)) + board.silence()
    assert bytes(board.memory) == before
    if bit >= 8:
        assert Answer(answer[2]) not in (Answer.OK, Answer.ADDRESS)
        assert board.broken_frames == 1
    else:
        assert not answer or Answer(answer[2]) != Answer.OK
