"""Frames of the serial link, as bytes: both ways, for hosts and for boards made of software."""

import binascii
from dataclasses import dataclass

from spec.link import (
    CHECKSUM_BYTES,
    CRC_INITIAL,
    REPLY_START,
    REQUEST_START,
    WORD_BYTES,
    Answer,
    Operation,
)

__all__ = ["Reply", "Request", "checksum"]


def checksum(content: bytes) -> bytes:
    """The checksum of what stands between START and itself."""
    return binascii.crc_hqx(content, CRC_INITIAL).to_bytes(CHECKSUM_BYTES, "big")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a host sends."""

    tag: int
    operation: Operation
    address: int
    count: int
    payload: bytes = b""

    def encode(self) -> bytes:
        """All bytes of the frame."""
        head = bytes([self.tag, self.operation.value, self.count])
        content = head + self.address.to_bytes(4, "little") + self.payload
        return bytes([REQUEST_START]) + content + checksum(content)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a board answers."""

    tag: int
    answer: Answer
    payload: bytes = b""

    def encode(self) -> bytes:
        """All bytes of the frame."""
        content = bytes([self.tag, self.answer.value, len(self.payload) // WORD_BYTES])
        content += self.payload
        return bytes([REPLY_START]) + content + checksum(content)
