"""The host's side of the link on lines of every kind."""

import pytest

from host.errors import LinkError
from host.frames import Reply
from host.link import ATTEMPTS, Link
from host.twin_registers import TwinRegisters
from spec.link import REGISTERS_AT, Answer
from tests.host.boards import MEMORY_BYTES, BadBothWays, BadLine, TwinTransport, twin

CONTENT = bytes(range(256)) * 6


@pytest.mark.parametrize("kind", [BadLine, BadBothWays])
@pytest.mark.parametrize(
    "chances", [{"drop": 40}, {"flip": 40}, {"inject": 40}, {"drop": 10, "flip": 10, "inject": 10}]
)
@pytest.mark.parametrize("seed", range(4))
def test_bad_lines(kind, chances, seed):
    line = kind(twin(), seed, **chances)
    link = Link(line, attempts=40)
    link.write(256, CONTENT)
    assert link.read(256, len(CONTENT)) == CONTENT
    assert line.changed > 0
    assert bytes(line.board.memory[256 : 256 + len(CONTENT)]) == CONTENT


def test_what_was_lost_is_sent_again():
    line = BadLine(twin(), 1, drop=30)
    link = Link(line, attempts=40)
    link.write(0, CONTENT)
    assert line.changed > 0
    assert link.retries == line.board.broken_frames > 0


class Silent:
    """A line without a board."""

    def __init__(self):
        self.waited, self.sent = 0.0, 0

    def write(self, content):
        self.sent += 1

    def read(self, count, timeout_s):
        self.waited += timeout_s
        return b""


def test_no_board():
    line = Silent()
    with pytest.raises(LinkError) as raised:
        Link(line, reply_s=0.25, name="the board at COM3").read_words(REGISTERS_AT, 4)
    assert str(raised.value) == (
        "the board at COM3 does not answer a READ of 4 words at 0x80000000, asked 8 times: is it "
        "powered and programmed, and is the speed of the line right?"
    )
    assert (line.sent, line.waited) == (ATTEMPTS, ATTEMPTS * 0.25)


class Endless(Silent):
    """A line that never stops."""

    def __init__(self, content):
        super().__init__()
        self.content, self.at = content, 0

    def read(self, count, timeout_s):
        self.at += count
        repeated = self.content * (count // len(self.content) + 2)
        return repeated[self.at % len(self.content) :][:count]


@pytest.mark.parametrize("content", [b"x", b"R", b"S", bytes(range(256)), b"R\1\0\4"])
def test_endless_noise_is_given_up(content):
    with pytest.raises(LinkError, match="does not answer"):
        Link(Endless(content)).read_words(0, 4)


class Answers(Silent):
    """Answers every request with the bytes that a function makes of its tag."""

    def __init__(self, *answers):
        super().__init__()
        self.answers, self.held = list(answers), b""

    def write(self, content):
        super().write(content)
        if self.answers:
            self.held += self.answers.pop(0)(content[1])

    def read(self, count, timeout_s):
        got, self.held = self.held[:count], self.held[count:]
        return got


def ok(payload):
    return lambda tag: Reply(tag=tag, answer=Answer.OK, payload=payload).encode()


def foreign(answer, payload=b""):
    return lambda tag: Reply(tag=(tag + 77) % 256, answer=answer, payload=payload).encode()


def test_other_tags_are_not_ours():
    line = Answers(lambda tag: foreign(Answer.OK, b"aaaa")(tag) + ok(b"bbbb")(tag))
    assert Link(line).read(0, 4) == b"bbbb"
    assert line.sent == 1


def test_a_late_reply_does_not_answer_the_next_attempt():
    late = []

    def withhold(tag):
        late.append(ok(b"late")(tag))
        return b""

    line = Answers(withhold, lambda tag: late[0] + ok(b"next")(tag))
    assert Link(line).read(0, 4) == b"next"


def test_noise_that_looks_like_a_reply():
    """The start of a long reply with our tag, and the real one behind it."""
    line = Answers(lambda tag: b"R" + bytes([tag, 0, 1]) + b"R" + ok(b"real")(tag))
    assert Link(line).read(0, 4) == b"real"
    line = Answers(lambda tag: b"RRR" + bytes([tag]) + b"R" + ok(b"real")(tag))
    assert Link(line).read(0, 4) == b"real"
    assert line.sent == 1


@pytest.mark.parametrize("answer", [Answer.CHECKSUM, Answer.TIMEOUT, Answer.COUNT, Answer.FRAMING])
def test_broken_frames_are_sent_again(answer):
    line = Answers(foreign(answer), ok(b"done"))
    link = Link(line)
    assert link.read(0, 4) == b"done"
    assert link.retries == 1


def test_a_board_that_understands_nothing():
    line = Answers(*[foreign(Answer.FRAMING)] * 3)
    with pytest.raises(LinkError) as raised:
        Link(line, attempts=3).write(16, bytes(8))
    assert str(raised.value) == (
        "the board did not get a WRITE of 2 words at 0x00000010 right in 3 attempts; its last "
        "answer: a byte came without its stop bit"
    )


def test_addresses_are_not_asked_again():
    line = TwinTransport(twin())
    with pytest.raises(LinkError, match="refuses a READ of 1 words at 0x00004000: an address"):
        Link(line).read(MEMORY_BYTES, 4)
    assert line.board.broken_frames == 1


def test_sizes_that_are_no_whole_words():
    link = Link(TwinTransport(twin()))
    link.write(0, b"abcdef")
    assert link.read(0, 12) == b"abcdef" + bytes(6)
    assert link.read(0, 5) == b"abcde"


def test_a_repeated_start_starts_once(monkeypatch):
    """The reply to START is lost: the second START finds the machine busy or done."""
    starts = []
    write = TwinRegisters.write

    def counted(self, address, value):
        before = self.status
        write(self, address, value)
        starts.append(before != self.status)

    monkeypatch.setattr(TwinRegisters, "write", counted)
    line = TwinTransport(twin())
    lost = iter([True, False])
    read = line.read

    def losing(count, timeout_s):
        got = read(count, timeout_s)
        if next(lost, False):
            line._waiting = b""
            return b""
        return got

    monkeypatch.setattr(line, "read", losing)
    Link(line).write_words(REGISTERS_AT + 0x10, [1])
    assert starts == [True, False]
