"""The driver against the board in software, also when the board misbehaves."""

import dataclasses

import numpy as np
import pytest

from golden_model.machine import machine
from host.board_twin import TwinTransport
from host.driver import Driver
from host.errors import DriverError, LinkError, MachineFaultError
from host.link import Link
from spec.board_memory import HEADER_BYTES, BoardMemoryError, board_memory
from spec.image import ImageError
from spec.isa import Window
from spec.link import REGISTERS_AT
from spec.registers import REGISTERS, Control, Error, Status
from tests.host.boards import TINY, BadBothWays, micro, twin


def driver_of(board, line=TwinTransport, **options):
    return Driver(Link(line(board), attempts=20), **options)


def check(driver, picture=0):
    image, inputs = micro()
    logits = driver.run(inputs[picture]).logits
    assert np.array_equal(logits, machine(image, TINY, inputs[picture]).logits)


def test_identity():
    identity = driver_of(twin(clock_hz=25_000_000)).identify()
    assert identity.config_digest == TINY.digest()
    assert (identity.memory_bytes, identity.clock_hz) == (16_384, 25_000_000)


def test_runs_in_any_order():
    driver = driver_of(twin())
    assert driver.load(micro()[0])
    for picture in (0, 1, 1, 3, 0, 2):
        check(driver, picture)


def test_an_image_that_is_there_is_not_sent_again():
    image, _ = micro()
    board = twin(content=board_memory(image).content)
    driver = driver_of(board)
    assert not driver.load(image)
    check(driver)
    other = dataclasses.replace(image, weights=image.weights ^ np.uint8(1))
    told = []
    assert driver.load(other, lambda done, total: told.append((done, total)))
    assert told[-1] == (10_368, 10_368)
    assert driver.load(image)
    check(driver)


class Cut(TwinTransport):
    """Dies after so many frames."""

    frames = 10

    def write(self, content):
        self.frames -= 1
        if self.frames >= 0:
            super().write(content)


@pytest.mark.parametrize("frames", [5, 6, 20, 42])
def test_an_upload_that_is_cut_is_noticed(frames, monkeypatch):
    """Whatever was sent: the next load sends all of it again."""
    monkeypatch.setattr(Cut, "frames", frames)
    image, _ = micro()
    other = dataclasses.replace(image, weights=image.weights ^ np.uint8(1))
    board = twin(content=board_memory(other).content)
    with pytest.raises(LinkError):
        driver_of(board, Cut).load(image)
    assert board.memory[:HEADER_BYTES] != board_memory(image).header
    driver = driver_of(board)
    assert driver.load(image)
    check(driver)
    if frames > 5:
        with pytest.raises(LinkError):
            driver_of(board, Cut).load(other)
        assert driver_of(board).load(other), "half of one image, and no header of the other"


def test_images_of_other_machines_and_too_large_ones():
    image, _ = micro()
    with pytest.raises(DriverError) as raised:
        driver_of(twin()).load(dataclasses.replace(image, config_digest=0x1234))
    assert str(raised.value) == (
        "the image is for config 'tiny' (0000000000001234), the board has a machine of config "
        f"{TINY.digest():016x}: compile the model for the board's preset"
    )
    with pytest.raises(BoardMemoryError, match="takes 20,480 bytes, the board has 16,384"):
        driver_of(twin()).load(dataclasses.replace(image, scratch_bytes=20_480 - 10_624))
    with pytest.raises(DriverError, match=r"no image is loaded: call load\(image\) first"):
        driver_of(twin()).run(np.zeros((4, 36), np.int8))


def test_inputs_of_another_shape():
    driver = driver_of(twin())
    driver.load(micro()[0])
    with pytest.raises(ImageError, match="input must be int8"):
        driver.run(np.zeros((1, 1), np.int8))
    check(driver)


def test_an_error_of_the_machine_in_words_and_the_next_run():
    image, inputs = micro()
    program = image.program.copy()
    program[17, 0] = 200
    driver = driver_of(twin())
    driver.load(dataclasses.replace(image, program=program))
    for _ in range(2):
        with pytest.raises(MachineFaultError) as raised:
            driver.run(inputs[0])
        assert str(raised.value) == (
            f"the machine stopped at instruction 17 ({image.names[17]}) with OPCODE: undefined "
            "opcode, or a reserved header bit set"
        )
        assert (raised.value.code, raised.value.pc) == (Error.OPCODE, 17)
    driver.load(image)
    check(driver)


def test_a_machine_that_does_not_end():
    board = twin(busy_reads=10**9)
    driver = driver_of(board, run_s=2.0)
    driver.load(micro()[0])
    with pytest.raises(DriverError, match="has not finished after 2 s; it was stopped"):
        driver.run(micro()[1][0])
    assert board.machine.status == Status(0)


def test_a_machine_that_is_slow():
    driver = driver_of(twin(busy_reads=30))
    driver.load(micro()[0])
    check(driver)


def test_a_machine_that_was_left_running():
    """As an earlier host may have left it: the next one clears it first."""
    board = twin(busy_reads=1)
    driver = driver_of(board)
    driver.load(micro()[0])
    board.machine.write(REGISTERS["CONTROL"], Control.START.value)
    assert board.machine.status == Status.BUSY
    check(driver)
    board.machine.write(REGISTERS["CONTROL"], Control.START.value)
    driver_of(board).load(micro()[0])
    check(driver, 2)


def test_a_reset_in_the_middle(monkeypatch):
    board = twin(busy_reads=50)
    driver = driver_of(board)
    driver.load(micro()[0])
    pause = driver.link.pause
    pauses = iter([pause, lambda _: board.reset()])
    monkeypatch.setattr(driver.link, "pause", lambda s: next(pauses, pause)(s))
    with pytest.raises(DriverError, match="was reset or cleared while it ran"):
        driver.run(micro()[1][0])
    check(driver, 1)


def test_a_memory_that_forgot():
    board = twin()
    driver = driver_of(board)
    driver.load(micro()[0])
    driver.check_header()
    board.memory[:] = bytes(len(board.memory))
    with pytest.raises(DriverError, match="does not hold the image any more: load it again"):
        driver.check_header()
    driver.load(micro()[0])
    check(driver)


@pytest.mark.parametrize(
    ("register", "text"),
    [
        ("LINK_ID", "register LINK_ID is 0x0, not 0x4b4e494c"),
        ("VERSION", "register VERSION is 0x0, not 0x1"),
    ],
)
def test_boards_of_another_kind(register, text, monkeypatch):
    driver = driver_of(twin())
    read = driver.link.read_words

    def changed(address, count):
        words = read(address, count)
        if register == "LINK_ID" and address == REGISTERS_AT + 0x800:
            words[0] = 0
        if register == "VERSION" and address == REGISTERS_AT:
            words[1] = 0
        return words

    monkeypatch.setattr(driver.link, "read_words", changed)
    with pytest.raises(DriverError, match=text):
        driver.identify()


def test_registers_that_make_no_sense(monkeypatch):
    driver = driver_of(twin())
    driver.load(micro()[0])

    def reads(*words):
        monkeypatch.setattr(driver.link, "read_words", lambda address, count: list(words))

    reads(0x55, 0, 0)
    with pytest.raises(DriverError, match="impossible STATUS 0x55"):
        driver.run(micro()[1][0])
    reads(Status.DONE.value, 0, 0)
    with pytest.raises(DriverError, match="cannot be cleared"):
        driver.run(micro()[1][0])
    reads(Status.ERROR.value, 99, 0)
    with pytest.raises(DriverError, match="unknown error code 99"):
        driver._wait(micro()[0])


def test_a_run_takes_few_round_trips():
    board = twin()
    driver = driver_of(board)
    driver.load(micro()[0])
    frames, receive = [], board.receive
    board.receive = lambda content: frames.append(content) or receive(content)
    driver.run(micro()[1][0])
    assert len(frames) == 12


@pytest.mark.parametrize("seed", range(5))
def test_a_bad_line(seed):
    """Bytes lost, changed and added both ways: slow, and right."""
    board = twin(busy_reads=5)
    line = BadBothWays(board, seed, drop=10, flip=10, inject=10)
    driver = Driver(Link(line, attempts=60))
    driver.load(micro()[0])
    for picture in range(4):
        check(driver, picture)
    assert line.changed > 10
    base = board_memory(micro()[0]).bases[Window.SCRATCH]
    assert bytes(board.memory[:base]) == board_memory(micro()[0]).content
