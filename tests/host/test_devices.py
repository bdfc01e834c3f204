"""The same images give the same answers on every device, by the same code."""

import dataclasses
import os
import socket
import threading

import numpy as np
import pytest

from golden_model.machine import machine
from host.board_device import twin_device
from host.errors import DriverError, LinkError, MachineFaultError
from host.golden import GoldenDevice, work_counters
from host.serial_port import reply_s, serial_device
from sim.rtl_device import RtlDevice
from spec.image import ImageError
from spec.presets import preset
from spec.registers import Error
from tests.host.boards import TINY, BadLine, PtyBoard, micro, twin

ORDER = (0, 1, 0, 3, 2, 2)


@pytest.fixture(params=["golden", "twin", "serial", "rtl"])
def device(request):
    if request.param == "golden":
        yield GoldenDevice(TINY)
    elif request.param == "twin":
        yield twin_device(TINY)
    elif request.param == "rtl":
        yield RtlDevice(TINY)
    else:
        with PtyBoard(twin()) as board, serial_device(board.port) as opened:
            yield opened


def check(device, order=ORDER):
    image, inputs = micro()
    answers = device.run([inputs[number] for number in order])
    assert len(answers) == len(order)
    for number, answer in zip(order, answers, strict=True):
        expected = machine(image, TINY, inputs[number])
        assert np.array_equal(answer.logits, expected.logits)
        assert answer.prediction == int(expected.logits.argmax())
        work = work_counters(expected.execution)
        assert {name: answer.counters[name] for name in work} == work
        assert answer.wall_s > 0
    return answers


def test_the_same_answers(device):
    with pytest.raises(DriverError, match=r"no image is loaded|does not hold the image"):
        device.run(micro()[1])
    image, inputs = micro()
    device.load(image)
    answers = check(device)
    if device.name.startswith("rtl"):
        assert all(answer.cycles > 1000 for answer in answers)
    else:
        assert answers[0].cycles is None
    assert device.run([]) == []
    program = image.program.copy()
    program[5, 0] = 200
    device.load(dataclasses.replace(image, program=program))
    with pytest.raises(
        MachineFaultError, match=r"stopped at instruction 5 .*with OPCODE"
    ) as raised:
        device.run(inputs[:2])
    assert (raised.value.code, raised.value.pc) == (Error.OPCODE, 5)
    device.load(image)
    check(device, (1,))
    with pytest.raises((ImageError, DriverError), match="config"):
        device.load(dataclasses.replace(image, config_digest=preset("asic512").digest()))


def test_the_rtl_under_icarus():
    with RtlDevice(TINY, "icarus") as device:
        device.load(micro()[0])
        check(device, (0,))


def test_time_outs_follow_the_speed():
    assert reply_s(1_000_000) < 0.25
    assert reply_s(9600) > 2 * 266 * 10 / 9600


def test_no_such_port():
    with pytest.raises(LinkError) as raised:
        serial_device("/dev/nothing-here")
    assert str(raised.value) == (
        "cannot open serial port /dev/nothing-here at 1,000,000 baud: No such file or directory"
    )


def test_a_port_that_is_in_use():
    in_use = r"cannot open serial port .* at 115,200 baud: Resource temporarily unavailable"
    with (
        PtyBoard(twin()) as board,
        serial_device(board.port),
        pytest.raises(LinkError, match=in_use),
    ):
        serial_device(board.port, 115_200)


def test_a_bad_cable():
    """Bytes lost, changed and added both ways, in real time."""
    line = BadLine(twin(), 5, drop=3, flip=3, inject=3)
    with PtyBoard(line.board, line.disturb) as board, serial_device(board.port) as device:
        device.load(micro()[0])
        check(device, (1, 0))
        assert line.changed > 3
        assert device.driver.link.retries > 0


def test_a_port_without_a_board():
    with PtyBoard(twin()) as board, serial_device(board.port) as device:
        board.dead = True
        with pytest.raises(LinkError, match=f"the board at {board.port} does not answer"):
            device.load(micro()[0])


def test_a_board_that_dies_and_comes_back():
    image, inputs = micro()
    with PtyBoard(twin()) as board, serial_device(board.port) as device:
        device.load(image)
        dying = board.board.machine.read

        def read(address):
            board.dead = True
            return dying(address)

        board.board.machine.read = read
        with pytest.raises(LinkError, match="does not answer"):
            device.run(inputs[:1])
        board.board.reset()
        board.dead = False
        check(device, (2, 0))


def test_a_port_that_goes_away():
    class Gone(PtyBoard):
        def __exit__(self, *_):
            self.ended.set()
            self.thread.join(5)
            os.close(self.slave)

    image, inputs = micro()
    with Gone(twin()) as board:
        device = serial_device(board.port)
        device.load(image)
        board.ended.set()
        board.thread.join(5)
        os.close(board.master)
        with pytest.raises(LinkError, match=r"serial port .* (is gone|does not take bytes)"):
            device.run(inputs[:1])
        device.close()


def test_a_url_of_pyserial():
    """A board behind a TCP port, as ser2net gives."""
    listener = socket.create_server(("127.0.0.1", 0))
    board = twin()

    def serve():
        connection, _ = listener.accept()
        with connection:
            while content := connection.recv(4096):
                connection.sendall(board.receive(content))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with serial_device(f"socket://127.0.0.1:{listener.getsockname()[1]}") as device:
        device.load(micro()[0])
        check(device, (3,))
    thread.join(5)
    listener.close()
