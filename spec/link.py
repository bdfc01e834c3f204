"""The serial link between a host and a board: bytes 8N1, in frames with a checksum.

A request is START, tag, operation, count, address (4 bytes, little-endian), `count` words if it is
a WRITE, and the checksum. The reply is START, the tag of its request, an answer, a count, `count`
words if it answers a READ with OK, and the checksum. A word is 4 bytes, little-endian. The checksum
is the CRC-16 of polynomial 0x1021 from 0xFFFF (`binascii.crc_hqx`) over all bytes between START and
itself, high byte first. A reply to a frame that ended before its tag has tag 0.

A request is carried out after its checksum has been found right, never in part. Bytes outside a
frame are ignored, also those without their stop bit. After anything that is no frame (see `Answer`)
the board ignores every byte until the line has been silent for the time-out, and then answers what
was wrong: so a host can send again as soon as it has an answer, or has waited for twice the
time-out.
"""

from amaranth.lib import enum

__all__ = [
    "ADDRESS_BYTES",
    "BAUD",
    "BITS_PER_BYTE",
    "BOARD_REGISTERS",
    "BOARD_REGISTER_MEANINGS",
    "CHECKSUM_BYTES",
    "CRC_INITIAL",
    "CRC_POLYNOMIAL",
    "LINK_MAGIC",
    "LINK_VERSION",
    "MAX_WORDS",
    "REGISTERS_AT",
    "REPLY_HEADER_BYTES",
    "REPLY_START",
    "REQUEST_HEADER_BYTES",
    "REQUEST_START",
    "TIMEOUT_S",
    "WORD_BYTES",
    "Answer",
    "Operation",
]

REQUEST_START, REPLY_START = 0x53, 0x52
"""First byte of a request and of a reply."""
WORD_BYTES, ADDRESS_BYTES, CHECKSUM_BYTES = 4, 4, 2
REQUEST_HEADER_BYTES = 1 + 1 + 1 + 1 + ADDRESS_BYTES
REPLY_HEADER_BYTES = 1 + 1 + 1 + 1
MAX_WORDS = 64
"""Most words of a frame."""
CRC_POLYNOMIAL, CRC_INITIAL = 0x1021, 0xFFFF
BAUD = 1_000_000
"""Bits a second of a board's line, unless its platform says otherwise."""
BITS_PER_BYTE = 10
"""With start and stop bit."""
TIMEOUT_S = 0.05
"""Silence that ends a broken frame, on a board; a generator parameter (in cycles) in hardware."""
REGISTERS_AT = 0x8000_0000
"""Addresses from here on are registers, those below are bytes of the board's memory.

What has no register among the 4 KiB reads as 0, and writes to it do nothing.
"""
LINK_MAGIC = 0x4B4E494C
"""`LINK`, the LINK_ID register."""
LINK_VERSION = 1

BOARD_REGISTERS = {
    "LINK_ID": 0x800,
    "LINK_VERSION": 0x804,
    "MEMORY_BYTES": 0x808,
    "CLOCK_HZ": 0x80C,
    "BROKEN_FRAMES": 0x810,
}
"""Read-only registers of the board, beside the machine's: byte addresses behind REGISTERS_AT."""
BOARD_REGISTER_MEANINGS = {
    "LINK_ID": f"0x{LINK_MAGIC:08x}, the bytes `LINK`",
    "LINK_VERSION": f"{LINK_VERSION}, of frames and of these registers",
    "MEMORY_BYTES": "size of the memory",
    "CLOCK_HZ": "frequency of machine and link",
    "BROKEN_FRAMES": "answers other than OK since reset; wraps",
}
"""What the registers hold."""


class Operation(enum.Enum, shape=8):
    """What a request asks for."""

    READ = 1
    """`count` words from `address` on"""
    WRITE = 2
    """`count` words to `address` and behind"""


class Answer(enum.Enum, shape=8):
    """What a reply says; anything but OK has count 0, and nothing was read or written."""

    OK = 0
    """done"""
    CHECKSUM = 1
    """the checksum does not fit the bytes"""
    OPERATION = 2
    """no such operation"""
    COUNT = 3
    """a count of 0 or above MAX_WORDS"""
    ADDRESS = 4
    """not a multiple of 4, or beyond the memory or the 4 KiB of registers"""
    TIMEOUT = 5
    """the line went silent within a frame"""
    FRAMING = 6
    """a byte without its stop bit"""
