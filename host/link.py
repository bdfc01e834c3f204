"""The serial link seen from the host: words in and out of a board, with retries.

Reads and writes may be repeated without harm (START is ignored unless the machine is idle, CLEAR
only makes it idle), so whatever is lost or broken is asked again, with a new tag.
"""

from typing import Protocol

from host.errors import LinkError
from host.frames import Reply, Request, checksum
from spec.link import (
    CHECKSUM_BYTES,
    MAX_WORDS,
    REPLY_HEADER_BYTES,
    REPLY_START,
    TIMEOUT_S,
    WORD_BYTES,
    Answer,
    Operation,
)

__all__ = ["ATTEMPTS", "Link", "Transport"]

ATTEMPTS = 8
"""Of a request, before the board is given up."""
NOISE_BYTES = 4096
"""Bytes without a reply among them that end an attempt."""
_SHORTEST = REPLY_HEADER_BYTES + CHECKSUM_BYTES
_MEANINGS = {
    Answer.CHECKSUM: "the checksum did not fit the bytes",
    Answer.OPERATION: "no such operation",
    Answer.COUNT: f"a count of 0 or above {MAX_WORDS}",
    Answer.ADDRESS: "an address that is not there",
    Answer.TIMEOUT: "the line went silent within a frame",
    Answer.FRAMING: "a byte came without its stop bit",
}
_AGAIN = set(Answer) - {Answer.OK, Answer.ADDRESS}
"""Answers to frames that were not what was sent."""


class Transport(Protocol):
    """A way for bytes, with a clock of its own (that of a simulator, for example)."""

    def write(self, content: bytes) -> None:
        """Send bytes; `HostError` when the way is gone."""
        ...

    def read(self, count: int, timeout_s: float) -> bytes:
        """Up to `count` bytes: fewer when `timeout_s` is over before they are all there."""
        ...


class Link:
    """Reads and writes of words.

    reply_s : how long to wait for a reply: its own bytes, those of the request, what lies between
        them, and twice the board's time-out
    name : of the board, in messages
    """

    def __init__(
        self,
        transport: Transport,
        *,
        reply_s: float = 4 * TIMEOUT_S,
        attempts: int = ATTEMPTS,
        name: str = "the board",
    ) -> None:
        self.name = name
        self.retries = 0
        """Requests that were sent again, in all."""
        self._transport, self._reply_s, self._attempts = transport, reply_s, attempts
        self._tag = 0

    def read_words(self, address: int, count: int) -> list[int]:
        """Words from an address on, any number of them."""
        words: list[int] = []
        while len(words) < count:
            part = min(count - len(words), MAX_WORDS)
            at = address + len(words) * WORD_BYTES
            payload = self._ask(Operation.READ, at, part, b"")
            words += [
                int.from_bytes(payload[byte : byte + WORD_BYTES], "little")
                for byte in range(0, len(payload), WORD_BYTES)
            ]
        return words

    def write_words(self, address: int, words: list[int]) -> None:
        """Words to an address and behind, any number of them."""
        self.write(address, b"".join(word.to_bytes(WORD_BYTES, "little") for word in words))

    def read(self, address: int, size: int) -> bytes:
        """Bytes from an address on (a multiple of 4)."""
        words = self.read_words(address, -(-size // WORD_BYTES))
        return b"".join(word.to_bytes(WORD_BYTES, "little") for word in words)[:size]

    def write(self, address: int, content: bytes) -> None:
        """Bytes to an address (a multiple of 4) and behind; the last word is filled up with 0."""
        step = MAX_WORDS * WORD_BYTES
        content += bytes(-len(content) % WORD_BYTES)
        for at in range(0, len(content), step):
            part = content[at : at + step]
            self._ask(Operation.WRITE, address + at, len(part) // WORD_BYTES, part)

    def pause(self, seconds: float) -> None:
        """Let time go by; what comes in meanwhile is no reply to anything."""
        self._transport.read(NOISE_BYTES, seconds)

    def exchange(self, content: bytes, tag: int, wanted: int = 0) -> Reply | None:
        """Send any bytes, once, and give what is answered; None if nothing is. For tests.

        tag : of the reply
        wanted : words that a reply with OK has
        """
        self._tag = tag
        self._transport.write(content)
        return self._reply(wanted)

    def _ask(self, operation: Operation, address: int, count: int, payload: bytes) -> bytes:
        """Send a request until it is answered; the words of the answer."""
        what = f"{operation.name} of {count} words at {address:#010x}"
        wanted = count if operation == Operation.READ else 0
        last: Answer | None = None
        for attempt in range(self._attempts):
            self.retries += attempt > 0
            self._tag = (self._tag + 1) % 256
            request = Request(
                tag=self._tag, operation=operation, address=address, count=count, payload=payload
            )
            self._transport.write(request.encode())
            reply = self._reply(wanted)
            if reply is None:
                continue
            last = reply.answer
            if reply.answer == Answer.OK:
                return reply.payload
            if reply.answer not in _AGAIN:
                raise LinkError(f"{self.name} refuses a {what}: {_MEANINGS[reply.answer]}")
        if last is None:
            raise LinkError(
                f"{self.name} does not answer a {what}, asked {self._attempts} times: is it "
                "powered and programmed, and is the speed of the line right?"
            )
        raise LinkError(
            f"{self.name} did not get a {what} right in {self._attempts} attempts; its last "
            f"answer: {_MEANINGS[last]}"
        )

    def _reply(self, wanted: int) -> Reply | None:
        """The reply to the request that has just been sent; None if there is none.

        Noise may look like the start of a reply. What cannot be one is passed over at once; what
        could be waits for its end, and when that does not come the bytes behind are looked at.
        """
        held, seen = b"", 0
        while seen < NOISE_BYTES:
            reply, missing, held = self._search(held, wanted, ended=False)
            if reply is not None:
                return reply
            got = self._transport.read(missing, self._reply_s)
            held, seen = held + got, seen + len(got)
            if len(got) < missing:
                return self._search(held, wanted, ended=True)[0]
        self.pause(self._reply_s)
        return None

    def _search(self, held: bytes, wanted: int, *, ended: bool) -> tuple[Reply | None, int, bytes]:
        """The first reply among bytes, how many more bytes it takes at least, and the bytes left.

        ended : no more will come
        """
        at = held.find(REPLY_START)
        while at >= 0:
            head = held[at + 1 : at + REPLY_HEADER_BYTES]
            missing = _SHORTEST + at - len(held)
            if self._possible(head, wanted):
                if len(head) == REPLY_HEADER_BYTES - 1:
                    missing += head[2] * WORD_BYTES
                if missing <= 0:
                    reply = _decode(held[at : len(held) + missing])
                    if reply is not None:
                        return reply, 0, b""
                elif not ended:
                    return None, missing, held[at:]
            at = held.find(REPLY_START, at + 1)
        return None, _SHORTEST, b""

    def _possible(self, head: bytes, wanted: int) -> bool:
        """Whether tag, answer and count, as far as they are there, can be those of our reply.

        A frame that was broken may be answered with a broken tag.
        """
        if len(head) < 2:
            return True
        tag, answer, count = head[0], head[1], head[2:]
        if answer == Answer.OK.value:
            return tag == self._tag and count in (b"", bytes([wanted]))
        known = any(answer == one.value for one in Answer)
        ours = tag == self._tag or answer != Answer.ADDRESS.value
        return known and ours and count in (b"", b"\0")


def _decode(frame: bytes) -> Reply | None:
    """A reply from all its bytes; None if the checksum is wrong."""
    content = frame[1:-CHECKSUM_BYTES]
    if checksum(content) != frame[-CHECKSUM_BYTES:]:
        return None
    return Reply(tag=content[0], answer=Answer(content[1]), payload=content[3:])
