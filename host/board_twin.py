"""The board in software: bytes and silence in, bytes out, the golden machine behind it.

It is the golden twin of the link's hardware: for the same bytes and the same silences the same
replies, but for what depends on time. A run takes as many reads of STATUS as it is told to.
"""

from host.frames import Reply, checksum
from host.twin_registers import TwinRegisters
from spec.config import Config
from spec.link import (
    BOARD_REGISTERS,
    CHECKSUM_BYTES,
    LINK_MAGIC,
    LINK_VERSION,
    MAX_WORDS,
    REGISTERS_AT,
    REQUEST_HEADER_BYTES,
    REQUEST_START,
    TIMEOUT_S,
    WORD_BYTES,
    Answer,
    Operation,
)

__all__ = ["BoardTwin", "TwinTransport"]

REGISTER_BYTES = 4096
"""Of the register space; what has no register there reads as 0."""
_OPERATIONS = {operation.value: operation for operation in Operation}


class BoardTwin:
    """A board.

    memory_bytes : of its memory, at address 0; a multiple of 64
    content : what lies there at first
    busy_reads : reads of STATUS that answer BUSY before a run is over
    """

    def __init__(
        self,
        config: Config,
        memory_bytes: int,
        *,
        content: bytes = b"",
        clock_hz: int = 50_000_000,
        busy_reads: int = 1,
    ) -> None:
        self.memory = bytearray(memory_bytes)
        self.memory[: len(content)] = content
        self.broken_frames = 0
        """Answers other than OK since reset."""
        self._config, self._clock_hz, self._busy_reads = config, clock_hz, busy_reads
        self.reset()

    def reset(self) -> None:
        """The reset input: all registers and the link; the memory stays."""
        self.machine = TwinRegisters(self._config, self.memory, busy_reads=self._busy_reads)
        self.broken_frames = 0
        self._frame = b""
        """What has come of a frame behind START; only meaningful inside one."""
        self._inside = False
        self._wrong: Answer | None = None
        """What the next silence will be answered with."""

    def receive(self, content: bytes) -> bytes:
        """Bytes without a silence between them; what the board answers to them."""
        replies = b""
        for byte in content:
            replies += self._byte(byte)
        return replies

    def framing_error(self) -> bytes:
        """A byte without its stop bit; ignored, as any byte is, outside a frame."""
        if self._inside and self._wrong is None:
            self._wrong = Answer.FRAMING
        return b""

    def silence(self) -> bytes:
        """The line has been silent for the time-out."""
        if not self._inside:
            return b""
        return self._answer(self._wrong or Answer.TIMEOUT)

    def _byte(self, byte: int) -> bytes:
        if not self._inside:
            self._inside, self._frame, self._wrong = byte == REQUEST_START, b"", None
            return b""
        if self._wrong is not None:
            return b""
        self._frame += bytes([byte])
        got = len(self._frame) + 1
        if got == 3 and byte not in _OPERATIONS:
            self._wrong = Answer.OPERATION
        if got == 4 and not 1 <= byte <= MAX_WORDS:
            self._wrong = Answer.COUNT
        if self._wrong is not None or got < REQUEST_HEADER_BYTES:
            return b""
        operation, count = _OPERATIONS[self._frame[1]], self._frame[2]
        payload = count * WORD_BYTES if operation == Operation.WRITE else 0
        if got < REQUEST_HEADER_BYTES + payload + CHECKSUM_BYTES:
            return b""
        if checksum(self._frame[:-CHECKSUM_BYTES]) != self._frame[-CHECKSUM_BYTES:]:
            self._wrong = Answer.CHECKSUM
            return b""
        address = int.from_bytes(self._frame[3:7], "little")
        return self._carry_out(operation, address, count, self._frame[7:-CHECKSUM_BYTES])

    def _carry_out(self, operation: Operation, address: int, count: int, payload: bytes) -> bytes:
        first, size = address, len(self.memory)
        if address >= REGISTERS_AT:
            first, size = address - REGISTERS_AT, REGISTER_BYTES
        if first % WORD_BYTES or first + count * WORD_BYTES > size:
            return self._answer(Answer.ADDRESS)
        registers, words = address >= REGISTERS_AT, range(first, first + count * WORD_BYTES, 4)
        if operation == Operation.READ:
            if registers:
                values = [self._read_register(at) for at in words]
                read = b"".join(value.to_bytes(WORD_BYTES, "little") for value in values)
            else:
                read = bytes(self.memory[first : first + count * WORD_BYTES])
            return self._answer(Answer.OK, read)
        if not registers:
            self.memory[first : first + len(payload)] = payload
        else:
            for at in words:
                word = payload[at - first : at - first + WORD_BYTES]
                self.machine.write(at, int.from_bytes(word, "little"))
        return self._answer(Answer.OK)

    def _read_register(self, at: int) -> int:
        board = {
            "LINK_ID": LINK_MAGIC,
            "LINK_VERSION": LINK_VERSION,
            "MEMORY_BYTES": len(self.memory),
            "CLOCK_HZ": self._clock_hz,
            "BROKEN_FRAMES": self.broken_frames,
        }
        for name, address in BOARD_REGISTERS.items():
            if at == address:
                return board[name]
        return self.machine.read(at)

    def _answer(self, answer: Answer, payload: bytes = b"") -> bytes:
        """End a frame; a frame that ended before its tag has tag 0."""
        if answer != Answer.OK:
            self.broken_frames = (self.broken_frames + 1) % (1 << 32)
        self._inside, self._wrong = False, None
        tag = self._frame[0] if self._frame else 0
        return Reply(tag=tag, answer=answer, payload=payload).encode()


class TwinTransport:
    """A transport to a twin in the same process: no real time passes."""

    def __init__(self, board: BoardTwin, *, timeout_s: float = TIMEOUT_S) -> None:
        self.board, self._timeout_s = board, timeout_s
        self._waiting = b""

    def write(self, content: bytes) -> None:
        """Send bytes."""
        self._waiting += self.board.receive(content)

    def read(self, count: int, timeout_s: float) -> bytes:
        """Bytes of the board; when they are too few, the line has been silent so long."""
        if len(self._waiting) < count and timeout_s >= self._timeout_s:
            self._waiting += self.board.silence()
        got, self._waiting = self._waiting[:count], self._waiting[count:]
        return got
