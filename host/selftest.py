"""What can be checked of a device, from its registers to its answers.

Every check is independent of the code that made the machine: the golden machine says what is
right.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden_model.machine import machine
from host.board_device import BoardDevice
from host.device import Device
from host.errors import LinkError, MachineFaultError
from host.link_checks import broken_frames, compare, memory
from spec.board_memory import board_memory
from spec.config import Config
from spec.errors import SievitError
from spec.image import Image
from spec.registers import Error

__all__ = ["Check", "selftest"]

_UNDEFINED_OPCODE = 255
_NEEDED = ("board", "machine", "load")
"""Checks without which those that follow mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one check."""

    name: str
    ok: bool | None
    """None: the device has not what would be checked, or an earlier failure stood in the way."""
    detail: str
    wall_s: float


class _FailedError(Exception):
    """A check that does not hold; its text says what was found."""


def selftest(
    device: Device,
    config: Config,
    image: Image,
    inputs: Sequence[NDArray[np.int8]],
    *,
    whole_memory: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Check]:
    """Check a device, one thing after the other.

    image, inputs : a compiled model for `config`, and some pictures
    whole_memory : test all of a board's memory, and load the image again
    tell : told what is being checked
    """
    board = device if isinstance(device, BoardDevice) else None
    parts: list[tuple[str, bool, Callable[[], str]]] = [
        ("board", True, lambda: _board(_of(board))),
        ("memory", True, lambda: _memory(_of(board), image, whole_memory)),
        ("broken frames", True, lambda: broken_frames(_of(board).driver.link)),
        ("machine", True, lambda: _machine(_of(board), config)),
        ("load", False, lambda: _load(device, image)),
        ("image as sent", True, lambda: _image_as_sent(_of(board), image)),
        ("answers", False, lambda: _answers(device, config, image, inputs)),
        ("orders", False, lambda: _orders(device, image, inputs)),
        ("machine errors", False, lambda: _faults(device, image, inputs)),
        ("answers after errors", False, lambda: _answers(device, config, image, inputs[:1])),
        ("nothing sent twice", True, lambda: _load_again(_of(board), image)),
    ]
    return list(_checks(parts, board, tell))


def _checks(
    parts: list[tuple[str, bool, Callable[[], str]]],
    board: BoardDevice | None,
    tell: Callable[[str], None],
) -> Iterator[Check]:
    gone = ""
    for name, of_boards, check in parts:
        began, ok = time.perf_counter(), None
        if of_boards and board is None:
            detail = "not there: for boards"
        elif gone:
            detail = f"not done: {gone} failed"
        else:
            tell(name)
            try:
                ok, detail = True, check()
            except (SievitError, _FailedError) as error:
                ok, detail = False, str(error)
                gone = name if isinstance(error, LinkError) or name in _NEEDED else ""
        yield Check(name=name, ok=ok, detail=detail, wall_s=time.perf_counter() - began)


def _of(board: BoardDevice | None) -> BoardDevice:
    assert board is not None
    return board


def _board(board: BoardDevice) -> str:
    found = board.driver.identify_board()
    return f"{found.memory_bytes:,} bytes, {found.clock_hz / 1e6:g} MHz"


def _machine(board: BoardDevice, config: Config) -> str:
    found = board.driver.identify()
    if found.config_digest != config.digest():
        raise _FailedError(
            f"the board's machine has config {found.config_digest:016x}, preset '{config.name}' "
            f"is {config.digest():016x}"
        )
    return f"config '{config.name}', {config.digest():016x}"


def _memory(board: BoardDevice, image: Image, whole: bool) -> str:
    size = board.driver.identify_board().memory_bytes
    first = 0 if whole else board_memory(image).size_bytes
    return memory(board.driver.link, first, size)


def _load(device: Device, image: Image) -> str:
    device.load(image)
    return f"{image.program.size + image.weights.size:,} bytes of program and weights"


def _image_as_sent(board: BoardDevice, image: Image) -> str:
    content = board_memory(image).content
    compare(board.driver.link.read(0, len(content)), content, 0)
    return f"{len(content):,} bytes read back"


def _load_again(board: BoardDevice, image: Image) -> str:
    if board.driver.load(image):
        raise _FailedError("the image was sent again although the board held it")
    return "the header tells what the board holds"


def _answers(
    device: Device, config: Config, image: Image, inputs: Sequence[NDArray[np.int8]]
) -> str:
    differing, first = 0, ""
    for number, answer in enumerate(device.run(inputs)):
        expected = machine(image, config, inputs[number]).logits
        wrong = np.flatnonzero(answer.logits != expected)
        differing += len(wrong)
        if len(wrong) and not first:
            at = wrong[0]
            first = f"logit {at} of picture {number} is {answer.logits[at]}, not {expected[at]}"
    if differing:
        raise _FailedError(f"{differing} logits differ from the golden machine: {first}")
    return f"{len(inputs) * image.result.classes} logits equal the golden machine's"


def _orders(device: Device, image: Image, inputs: Sequence[NDArray[np.int8]]) -> str:
    """A picture's answer does not depend on those before it."""
    count = len(inputs)
    forth = device.run(inputs)
    random = np.random.default_rng(1).integers(0, count, 2 * count)
    order = [*reversed(range(count)), *range(count), *map(int, np.sort(random)), *map(int, random)]
    for place, (number, answer) in enumerate(
        zip(order, device.run([inputs[number] for number in order]), strict=True)
    ):
        if not np.array_equal(answer.logits, forth[number].logits):
            raise _FailedError(f"picture {number} at place {place} has another answer than before")
    return f"{len(order)} more pictures: backwards, forwards, each several times, shuffled"


def _faults(device: Device, image: Image, inputs: Sequence[NDArray[np.int8]]) -> str:
    """A program with an undefined opcode stops the machine with that error, at that instruction."""
    program = image.program.copy()
    pc = len(program) // 2
    program[pc, 0] = _UNDEFINED_OPCODE
    device.load(dataclasses.replace(image, program=program))
    try:
        device.run(inputs[:1])
    except MachineFaultError as error:
        if (error.code, error.pc) != (Error.OPCODE, pc):
            raise _FailedError(f"not OPCODE at instruction {pc}, but: {error}") from None
    else:
        raise _FailedError(f"an undefined opcode at instruction {pc} did not stop the machine")
    finally:
        device.load(image)
    return f"an undefined opcode at instruction {pc} is found, and told in words"
