"""What the self-test does to a board's link and memory."""

import numpy as np

from host.errors import HostError
from host.frames import Request
from host.link import Link
from spec.link import (
    BOARD_REGISTERS,
    MAX_WORDS,
    REGISTERS_AT,
    REQUEST_HEADER_BYTES,
    WORD_BYTES,
    Answer,
    Operation,
)

__all__ = ["LinkCheckError", "broken_frames", "compare", "memory"]

_TAG = 0xA5
_PART_BYTES = 4096


class LinkCheckError(HostError):
    """A check of the link or the memory that does not hold: says where and what was found."""


def broken_frames(link: Link) -> str:
    """Send frames that are wrong in every way a host can make, and hold the answers against them.

    Nothing may be written by them. The first word of the memory is read, not changed.
    """
    memory_bytes, before = (_register(link, name) for name in ("MEMORY_BYTES", "BROKEN_FRAMES"))
    word = link.read(0, WORD_BYTES)
    inverted = bytes(byte ^ 0xFF for byte in word)
    write = _request(Operation.WRITE, 0, payload=inverted)
    retries = link.retries
    frames = {
        "a wrong checksum": (_changed(write, len(write) - 1), Answer.CHECKSUM),
        "a wrong bit of a word": (_changed(write, REQUEST_HEADER_BYTES), Answer.CHECKSUM),
        "an unknown operation": (_changed(write, 2, 0x80), Answer.OPERATION),
        "no words": (_request(Operation.READ, 0, count=0), Answer.COUNT),
        "too many words": (_request(Operation.READ, 0, count=MAX_WORDS + 1), Answer.COUNT),
        "an odd address": (_request(Operation.WRITE, 2, payload=inverted), Answer.ADDRESS),
        "an address behind the memory": (
            _request(Operation.READ, memory_bytes - WORD_BYTES, count=2),
            Answer.ADDRESS,
        ),
        "a frame that is cut": (write[:-1], Answer.TIMEOUT),
    }
    for name, (frame, expected) in frames.items():
        reply = link.exchange(frame, _TAG)
        got = "nothing" if reply is None else reply.answer.name
        if got != expected.name:
            raise LinkCheckError(f"{name} is answered with {got}, not with {expected.name}")
        if reply is not None and reply.tag != _TAG:
            raise LinkCheckError(f"{name} is answered with tag {reply.tag}, not {_TAG}")
        if link.read(0, WORD_BYTES) != word:
            raise LinkCheckError(f"{name} changed the memory")
    counted = _register(link, "BROKEN_FRAMES") - before
    if link.retries == retries and counted != len(frames):
        raise LinkCheckError(f"BROKEN_FRAMES counts {counted} of {len(frames)} broken frames")
    return f"{len(frames)} kinds, each answered as specified"


def memory(link: Link, first: int, end: int) -> str:
    """Write and read back every word of [first, end): two patterns that differ at each address."""
    words = np.arange(first // WORD_BYTES, end // WORD_BYTES, dtype=np.uint32)
    pattern = words * np.uint32(0x9E3779B1) ^ np.uint32(0x5A5A5A5A)
    for values in (pattern, ~pattern):
        content = values.astype("<u4").tobytes()
        for at in range(0, len(content), _PART_BYTES):
            link.write(first + at, content[at : at + _PART_BYTES])
        for at in range(0, len(content), _PART_BYTES):
            wanted = content[at : at + _PART_BYTES]
            found = link.read(first + at, len(wanted))
            compare(found, wanted, first + at)
    if first >= end:
        return "no bytes behind the image; --all-memory tests the whole"
    return f"{end - first:,} bytes from {first:#x} on, two patterns"


def compare(found: bytes, written: bytes, address: int) -> None:
    """Refuse bytes from an address on that are not those that were written."""
    wrong = np.flatnonzero(np.frombuffer(found, np.uint8) != np.frombuffer(written, np.uint8))
    if len(wrong):
        at = int(wrong[0])
        raise LinkCheckError(
            f"byte {address + at:#x} reads {found[at]:#04x}, {written[at]:#04x} was written "
            f"({len(wrong)} of {len(written)} bytes are wrong)"
        )


def _register(link: Link, name: str) -> int:
    return link.read_words(REGISTERS_AT + BOARD_REGISTERS[name], 1)[0]


def _request(operation: Operation, address: int, *, count: int = 1, payload: bytes = b"") -> bytes:
    request = Request(tag=_TAG, operation=operation, address=address, count=count, payload=payload)
    return request.encode()


def _changed(frame: bytes, at: int, bits: int = 1) -> bytes:
    return frame[:at] + bytes([frame[at] ^ bits]) + frame[at + 1 :]
