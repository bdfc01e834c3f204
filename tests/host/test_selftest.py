"""The self-test passes on what is right, and finds what is broken."""

import dataclasses

import numpy as np
import pytest

from host import selftest as module
from host.board_device import BoardDevice
from host.board_twin import BoardTwin, TwinTransport
from host.driver import Driver
from host.golden import GoldenDevice
from host.link import Link
from host.selftest import selftest
from spec.link import Answer, Operation
from spec.registers import Error
from tests.host.boards import TINY, BadBothWays, micro, twin


def checked(device, config=TINY, **options):
    image, inputs = micro()
    return {one.name: one for one in selftest(device, config, image, inputs[:2], **options)}


def board_device(board, line=TwinTransport):
    return BoardDevice(Driver(Link(line(board), attempts=40)))


def failed(checks):
    return [name for name, check in checks.items() if check.ok is False]


@pytest.mark.parametrize("whole", [False, True])
def test_a_good_board(whole):
    told = []
    checks = checked(board_device(twin()), whole_memory=whole, tell=told.append)
    assert [one.ok for one in checks.values()] == [True] * len(checks)
    assert told == list(checks)
    size = 16_384 if whole else 16_384 - 10_624
    assert checks["memory"].detail.startswith(f"{size:,} bytes from")


def test_a_good_device_that_is_no_board():
    checks = checked(GoldenDevice(TINY))
    assert failed(checks) == []
    assert checks["memory"].detail == "not there: for boards"
    assert checks["answers"].ok


def test_a_good_board_on_a_bad_line():
    line = BadBothWays(twin(), 3, drop=10, flip=10)
    checks = checked(BoardDevice(Driver(Link(line, attempts=40))))
    assert line.changed
    assert not {"board", "machine", "memory", "load", "image as sent", "answers", "orders"} & set(
        failed(checks)
    )


def test_another_machine():
    checks = checked(board_device(twin()), dataclasses.replace(TINY, queue_depth=2, name="other"))
    assert failed(checks) == ["machine"]
    assert "preset 'other'" in checks["machine"].detail
    assert checks["load"].detail == "not done: machine failed"


def test_a_board_without_a_machine():
    """The link alone, as `sievit build --link-only` makes it."""
    board = twin()
    board.machine.read = lambda address: 0
    checks = checked(board_device(board))
    assert failed(checks) == ["machine"]
    assert checks["machine"].detail == (
        "the board has no sievit machine of this release: register ID is 0x0, not 0x53564954"
    )
    assert checks["memory"].ok
    assert checks["broken frames"].ok


def test_a_board_that_is_gone():
    class Gone(TwinTransport):
        def write(self, content):
            pass

    checks = checked(board_device(twin(), Gone))
    assert failed(checks) == ["board"]
    assert {one.detail for one in checks.values() if one.ok is None} == {"not done: board failed"}


class Stuck(BoardTwin):
    """A bit of the memory that is always 1."""

    def _carry_out(self, *arguments):
        answer = super()._carry_out(*arguments)
        self.memory[12_001] |= 0x10
        return answer


class Folded(BoardTwin):
    """An address line that is not connected."""

    def _carry_out(self, operation, address, *arguments):
        if address < len(self.memory):
            address &= ~0x1000
        return super()._carry_out(operation, address, *arguments)


class Careless(BoardTwin):
    """Writes before it knows the checksum."""

    def _byte(self, byte):
        frame = self._frame
        answer = super()._byte(byte)
        if self._wrong == Answer.CHECKSUM and frame[1] == Operation.WRITE.value:
            self.memory[:4] = frame[7:11]
        return answer


class Confused(BoardTwin):
    """Gives one reason for every broken frame."""

    def _answer(self, answer, payload=b""):
        return super()._answer(Answer.CHECKSUM if answer == Answer.TIMEOUT else answer, payload)


class Uncounted(BoardTwin):
    """Forgets to count."""

    def _answer(self, answer, payload=b""):
        reply = super()._answer(answer, payload)
        self.broken_frames = 0
        return reply


FAULTS = {
    Stuck: ("memory", "byte 0x2ee1 reads"),
    Folded: ("memory", "bytes are wrong"),
    Careless: ("broken frames", "a wrong checksum changed the memory"),
    Confused: ("broken frames", "a frame that is cut is answered with CHECKSUM, not with TIMEOUT"),
    Uncounted: ("broken frames", "BROKEN_FRAMES counts 0 of 8 broken frames"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_of_the_board(kind):
    name, text = FAULTS[kind]
    checks = checked(board_device(kind(TINY, 16_384)))
    assert checks[name].ok is False
    assert text in checks[name].detail


class WrongBit(GoldenDevice):
    """The lowest bit of one logit of one answer."""

    def _one(self, image, patches):
        answer = super()._one(image, patches)
        if np.array_equal(patches, micro()[1][1]):
            answer.logits[7] ^= 1
        return answer


def test_one_wrong_bit():
    checks = checked(WrongBit(TINY))
    assert failed(checks) == ["answers"]
    assert checks["answers"].detail.startswith(
        "1 logits differ from the golden machine: logit 7 of picture 1 is "
    )


class Leaking(GoldenDevice):
    """An answer that depends on the picture before."""

    last = 0

    def _one(self, image, patches):
        answer = super()._one(image, patches)
        answer.logits[0] += self.last == 5
        self.last = self.last + 1
        return answer


def test_state_that_leaks():
    checks = checked(Leaking(TINY))
    assert failed(checks) == ["orders"]
    assert "has another answer than before" in checks["orders"].detail


@pytest.mark.parametrize("code", [None, Error.WINDOW])
def test_machine_errors_that_are_not_told(code, monkeypatch):
    device = GoldenDevice(TINY)
    run = device.run

    def changed(inputs):
        try:
            return run(inputs)
        except module.MachineFaultError as error:
            if code is None:
                return []
            raise module.MachineFaultError("another", code, error.pc) from None

    monkeypatch.setattr(device, "run", changed)
    checks = checked(device)
    assert failed(checks) == ["machine errors"]
    expected = "did not stop the machine" if code is None else "not OPCODE at instruction 41"
    assert expected in checks["machine errors"].detail


def test_an_image_that_changes_on_its_way():
    class Forgetful(BoardTwin):
        def _carry_out(self, operation, address, count, payload):
            if operation == Operation.WRITE and address == 64 + 4096 and count == 64:
                payload = bytes([payload[0] ^ 1]) + payload[1:]
            return super()._carry_out(operation, address, count, payload)

    checks = checked(board_device(Forgetful(TINY, 16_384)))
    assert checks["image as sent"].ok is False
    assert "byte 0x1040 reads" in checks["image as sent"].detail


def test_an_image_that_is_sent_every_time(monkeypatch):
    device = board_device(twin())
    load = device.driver.load
    monkeypatch.setattr(device.driver, "load", lambda *given: load(*given) or True)
    assert failed(checked(device)) == ["nothing sent twice"]
