"""Requests in, replies out: the board's end of the serial link."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.crc import Algorithm
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl_gen.link.interfaces import RECEIVED, word_port
from spec.link import (
    CHECKSUM_BYTES,
    CRC_INITIAL,
    CRC_POLYNOMIAL,
    MAX_WORDS,
    REGISTERS_AT,
    REPLY_HEADER_BYTES,
    REPLY_START,
    REQUEST_HEADER_BYTES,
    REQUEST_START,
    WORD_BYTES,
    Answer,
    Operation,
)

__all__ = ["REGISTER_WORDS", "FrameEngine"]

REGISTER_WORDS = 1024
"""4 KiB of registers."""
_CHECKSUM = Algorithm(
    crc_width=8 * CHECKSUM_BYTES,
    polynomial=CRC_POLYNOMIAL,
    initial_crc=CRC_INITIAL,
    reflect_input=False,
    reflect_output=False,
    xor_output=0,
)


class FrameEngine(wiring.Component):
    """Carries out the requests of `spec.link`, one at a time; its twin is the board of `host`.

    The payload of a WRITE waits in a buffer until the checksum was right; the words of a READ are
    read while the reply goes out. What arrives while a request is carried out or a reply goes out
    is ignored. Each word takes a handful of cycles beside what its port takes.

    Members
    -------
    i_valid, i : a byte of the line (a pulse); never held up
    active : a byte is on its way; the time without one is the silence
    o : stream of bytes to the line
    memory, registers : 32-bit access; addresses count words
    broken_frames : replies other than OK since reset
    """

    def __init__(self, *, memory_bytes: int, timeout_cycles: int) -> None:
        if memory_bytes % WORD_BYTES or not 0 < memory_bytes <= REGISTERS_AT:
            raise ValueError(
                f"memory_bytes must be a multiple of {WORD_BYTES} up to {REGISTERS_AT:#x}, "
                f"not {memory_bytes}"
            )
        if timeout_cycles < 1:
            raise ValueError(f"timeout_cycles must be positive, not {timeout_cycles}")
        self._memory_words = memory_bytes // WORD_BYTES
        self._timeout_cycles = timeout_cycles
        super().__init__(
            {
                "i_valid": In(1),
                "i": In(RECEIVED),
                "active": In(1),
                "o": Out(stream.Signature(8)),
                "memory": Out(word_port(max((self._memory_words - 1).bit_length(), 1))),
                "registers": Out(word_port((REGISTER_WORDS - 1).bit_length())),
                "broken_frames": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        m.submodules.crc = crc = _CHECKSUM(8).create()
        m.submodules.buffer = buffer = Memory(
            shape=unsigned(8), depth=MAX_WORDS * WORD_BYTES, init=[], attrs={"no_rw_check": 1}
        )
        stored, loaded = buffer.write_port(), buffer.read_port()

        # Silence
        silence = Signal(range(self._timeout_cycles + 1))
        silent = Signal()
        with m.If(self.active | self.i_valid):
            m.d.sync += [silence.eq(0), silent.eq(0)]
        with m.Elif(~silent):
            m.d.sync += [silence.eq(silence + 1), silent.eq(silence == self._timeout_cycles - 1)]

        # The frame
        tag, writes, answer = Signal(8), Signal(), Signal(Answer)
        count = Signal(range(MAX_WORDS + 1))
        """Words that are still to be carried out."""
        address = Signal(8 * WORD_BYTES)
        word_bits = max(len(self.memory.address), len(self.registers.address))
        index, high = address[2 : 2 + word_bits], address[2 + word_bits : -1]
        end = Signal(word_bits + 1)
        """First word behind the request's."""
        position = Signal(range(MAX_WORDS * WORD_BYTES))
        """Byte within the part of the frame that is received or sent."""
        word = Signal(8 * WORD_BYTES)
        is_register = address[-1]
        m.d.comb += [
            stored.addr.eq(position),
            stored.data.eq(self.i.byte),
            loaded.addr.eq(position),
            crc.data.eq(self.i.byte),
        ]
        accessed, value = Signal(), Signal(8 * WORD_BYTES)
        for port, chosen in ((self.memory, ~is_register), (self.registers, is_register)):
            m.d.comb += [
                port.write.eq(writes),
                port.address.eq(index),
                port.data.eq(word),
            ]
            with m.If(chosen):
                m.d.comb += [accessed.eq(port.done), value.eq(port.value)]

        with m.FSM():
            with m.State("START"):
                m.d.comb += crc.start.eq(1)
                m.d.sync += [position.eq(0), tag.eq(0), answer.eq(Answer.OK)]
                with m.If(self.i_valid & ~self.i.framing & (self.i.byte == REQUEST_START)):
                    m.next = "HEADER"

            with m.State("HEADER"), self._byte(m, answer, silent):
                m.d.comb += crc.valid.eq(1)
                m.d.sync += position.eq(position + 1)
                with m.Switch(position):
                    with m.Case(0):
                        m.d.sync += tag.eq(self.i.byte)
                    with m.Case(1):
                        m.d.sync += writes.eq(self.i.byte == Operation.WRITE.value)
                        with m.If(~_among(self.i.byte, [o.value for o in Operation])):
                            m.d.sync += answer.eq(Answer.OPERATION)
                            m.next = "IGNORE"
                    with m.Case(2):
                        m.d.sync += count.eq(self.i.byte)
                        with m.If((self.i.byte == 0) | (self.i.byte > MAX_WORDS)):
                            m.d.sync += answer.eq(Answer.COUNT)
                            m.next = "IGNORE"
                    with m.Default():
                        m.d.sync += address.eq(Cat(address[8:], self.i.byte))
                with m.If(position == REQUEST_HEADER_BYTES - 2):
                    m.d.sync += position.eq(0)
                    m.next = "CHECKSUM"
                    with m.If(writes):
                        m.next = "PAYLOAD"

            with m.State("PAYLOAD"), self._byte(m, answer, silent):
                m.d.comb += [crc.valid.eq(1), stored.en.eq(1)]
                m.d.sync += position.eq(position + 1)
                with m.If(position + 1 == Cat(Const(0, 2), count)):
                    m.d.sync += position.eq(0)
                    m.next = "CHECKSUM"

            with m.State("CHECKSUM"), self._byte(m, answer, silent):
                m.d.comb += crc.valid.eq(1)
                m.d.sync += position.eq(position + 1)
                with m.If(position == CHECKSUM_BYTES - 1):
                    m.next = "VERIFY"

            with m.State("VERIFY"):
                m.d.sync += [end.eq(index + count), position.eq(0)]
                m.next = "LIMITS"
                with m.If(~crc.match_detected):
                    m.d.sync += answer.eq(Answer.CHECKSUM)
                    m.next = "IGNORE"

            with m.State("LIMITS"):
                limit = Mux(is_register, REGISTER_WORDS, self._memory_words)
                m.next = "REPLY"
                with m.If(address[:2].any() | high.any() | (end > limit)):
                    m.d.sync += answer.eq(Answer.ADDRESS)
                with m.Elif(writes):
                    m.next = "FETCH"

            # A word of a WRITE, byte by byte
            with m.State("FETCH"):
                m.next = "TAKE"
            with m.State("TAKE"):
                m.d.sync += [word.eq(Cat(word[8:], loaded.data)), position.eq(position + 1)]
                m.next = "FETCH"
                with m.If(position[:2] == WORD_BYTES - 1):
                    m.next = "ACCESS"

            with m.State("ACCESS"):
                m.d.comb += [
                    self.memory.valid.eq(~is_register),
                    self.registers.valid.eq(is_register),
                ]
                with m.If(accessed):
                    m.d.sync += [index.eq(index + 1), count.eq(count - 1)]
                    m.next = "FETCH"
                    with m.If(~writes):
                        m.d.sync += [word.eq(value), position.eq(0)]
                        m.next = "WORD"
                    with m.Elif(count == 1):
                        m.d.sync += position.eq(0)
                        m.next = "REPLY"

            # After anything that is no frame
            with m.State("IGNORE"):
                m.d.sync += position.eq(0)
                with m.If(silent):
                    m.next = "REPLY"

            reads = (answer == Answer.OK) & ~writes
            with m.State("REPLY"):
                head = [REPLY_START, tag, answer, Mux(reads, count, 0)]
                with m.Switch(position):
                    for index, content in enumerate(head):
                        with m.Case(index):
                            m.d.comb += self.o.payload.eq(content)
                m.d.comb += [self.o.valid.eq(1), crc.start.eq(position == 0)]
                with m.If(self.o.ready):
                    m.d.comb += [crc.data.eq(self.o.payload), crc.valid.eq(position != 0)]
                    m.d.sync += position.eq(position + 1)
                    with m.If(position == REPLY_HEADER_BYTES - 1):
                        m.d.sync += position.eq(0)
                        m.next = "SUM"
                        with m.If(reads):
                            m.next = "ACCESS"

            with m.State("WORD"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(word[:8])]
                with m.If(self.o.ready):
                    m.d.comb += [crc.data.eq(self.o.payload), crc.valid.eq(1)]
                    m.d.sync += [word.eq(word[8:]), position.eq(position + 1)]
                    with m.If(position == WORD_BYTES - 1):
                        m.d.sync += position.eq(0)
                        m.next = "ACCESS"
                        with m.If(count == 0):
                            m.next = "SUM"

            with m.State("SUM"):
                sums = Mux(position[0], crc.crc[:8], crc.crc[8:])
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(sums)]
                with m.If(self.o.ready):
                    m.d.sync += position.eq(position + 1)
                    with m.If(position == CHECKSUM_BYTES - 1):
                        m.d.sync += self.broken_frames.eq(
                            self.broken_frames + (answer != Answer.OK)
                        )
                        m.next = "START"
        return m

    def _byte(self, m: Module, answer: Signal, silent: Signal) -> object:
        """Leave the state on a byte without stop bit or on silence; the rest is for a good byte."""
        with m.If(self.i_valid & self.i.framing):
            m.d.sync += answer.eq(Answer.FRAMING)
            m.next = "IGNORE"
        with m.Elif(silent):
            m.d.sync += answer.eq(Answer.TIMEOUT)
            m.next = "IGNORE"
        return m.If(self.i_valid & ~self.i.framing)


def _among(value: Value, choices: list[int]) -> Value:
    """Whether `value` is one of `choices`."""
    return Cat(*(value == choice for choice in choices)).any()
