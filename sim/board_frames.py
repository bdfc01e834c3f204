"""Bytes that are no frames, and frames that ask for what is not there."""

import random
from collections.abc import Iterator

from host.frames import Request
from spec.link import MAX_WORDS, REGISTERS_AT, REQUEST_START, Operation

__all__ = ["Parts", "broken_frames"]

Parts = list[bytes | None]
"""What comes over the line without a silence: bytes, or None for one without its stop bit."""


def _read(tag: int, address: int, count: int) -> bytes:
    return Request(tag=tag, operation=Operation.READ, address=address, count=count).encode()


def _write(tag: int, address: int, payload: bytes) -> bytes:
    count = len(payload) // 4
    return Request(
        tag=tag, operation=Operation.WRITE, address=address, count=count, payload=payload
    ).encode()


def _replaced(frame: bytes, at: int, byte: int) -> bytes:
    return frame[:at] + bytes([byte]) + frame[at + 1 :]


def broken_frames(rng: random.Random, memory_bytes: int) -> Iterator[tuple[str, Parts]]:
    """Name and parts of each case; nothing but the last words of the memory is ever written."""
    read = _read(0x11, 0, 2)
    payload = rng.randbytes(16)
    write = _write(0x22, memory_bytes - 16, payload)
    yield "bytes outside a frame", [bytes(b for b in range(256) if b != REQUEST_START)]
    yield "framing error outside a frame", [None]
    yield "only START", [read[:1]]
    yield "START START", [read[:1] + read]
    for at in range(2, len(read)):
        yield f"READ ends after {at} bytes", [read[:at]]
    yield "WRITE ends in its payload", [write[:-5]]
    yield "a byte lost in the payload", [write[:12] + write[13:]]
    yield "a byte lost, the next frame follows", [write[:12] + write[13:] + read]
    for at in (1, 4, 7, 9, len(write) - 1):
        yield (
            f"a bit flipped in byte {at}",
            [_replaced(write, at, write[at] ^ 1 << rng.randrange(8))],
        )
    yield "a byte too many", [read + b"\0"]
    for operation in (0, 3, 0xFF):
        yield f"operation {operation}", [_replaced(read, 2, operation)]
    for count in (0, MAX_WORDS + 1, 0xFF):
        yield f"count {count}", [_replaced(read, 3, count)]
    yield "framing error in the tag", [read[:1], None]
    yield "framing error in the checksum", [read[:-1], None, read]
    for address in (1, 2, 3, memory_bytes - 4, memory_bytes, 0x7FFF_FFFC, REGISTERS_AT + 2):
        yield f"READ at {address:#x}", [_read(0x33, address, 2)]
    for address in (REGISTERS_AT + 0xFFC, REGISTERS_AT + 0x1000, 0xFFFF_FFFC):
        yield f"READ at {address:#x}", [_read(0x44, address, 2)]
        yield f"WRITE at {address:#x}", [_write(0x45, address, payload[:8])]
    yield "WRITE over the end", [_write(0x55, memory_bytes - 12, payload)]
    yield "last register", [_read(0x66, REGISTERS_AT + 0xFFC, 1)]
    yield "what the WRITEs above left", [_read(0x77, memory_bytes - 16, 4)]
    yield "a good WRITE", [write]
    yield "what it left", [_read(0x78, memory_bytes - 16, 4)]
