"""Drives the machine of a board: identity, loading images, running pictures, errors in words."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from host.device import Answer
from host.errors import DriverError, MachineFaultError, fault_text
from host.link import Link
from spec.board_memory import HEADER_BYTES, BoardMemory, board_memory
from spec.image import Image
from spec.isa import Window
from spec.link import BOARD_REGISTERS, LINK_MAGIC, LINK_VERSION, REGISTERS_AT, WORD_BYTES
from spec.registers import (
    COUNTERS,
    MAGIC,
    REGISTERS,
    VERSION,
    Control,
    Error,
    Status,
    counter_address,
    window_address,
)

__all__ = ["BoardIdentity", "Driver", "Identity"]

_UPLOAD_STEP = 4096
"""Bytes between two reports of progress."""
_CLEAR_POLLS = 100


@dataclass(frozen=True, kw_only=True)
class BoardIdentity:
    """What a board says of itself."""

    memory_bytes: int
    clock_hz: int
    broken_frames: int
    """Frames since reset that were none."""


@dataclass(frozen=True, kw_only=True)
class Identity(BoardIdentity):
    """What a board and its machine say of themselves."""

    config_digest: int
    """`Config.digest()` of the machine."""


class Driver:
    """A machine behind a link.

    run_s : how long a picture may take, in the time of the link's transport
    watchdog_cycles : cycles without progress that stop a program
    poll_s : first pause between two looks at STATUS; it doubles up to 50 times as much
    """

    def __init__(
        self,
        link: Link,
        *,
        run_s: float = 60.0,
        watchdog_cycles: int = 1_000_000,
        poll_s: float = 0.001,
    ) -> None:
        self.link = link
        self._run_s, self._watchdog_cycles, self._poll_s = run_s, watchdog_cycles, poll_s
        self.identity: Identity | None = None
        """What the board last said."""
        self._image: Image | None = None
        self._memory: BoardMemory | None = None

    def identify_board(self) -> BoardIdentity:
        """Read the board's identity; `DriverError` if it is no board of this release."""
        at = {name: REGISTERS_AT + address for name, address in BOARD_REGISTERS.items()}
        words = dict(
            zip(at, self.link.read_words(at["LINK_ID"], len(BOARD_REGISTERS)), strict=True)
        )
        self._expect("LINK_ID", words["LINK_ID"], LINK_MAGIC)
        self._expect("LINK_VERSION", words["LINK_VERSION"], LINK_VERSION)
        return BoardIdentity(
            memory_bytes=words["MEMORY_BYTES"],
            clock_hz=words["CLOCK_HZ"],
            broken_frames=words["BROKEN_FRAMES"],
        )

    def identify(self) -> Identity:
        """Read the identity of board and machine; `DriverError` if either is not there."""
        board = self.identify_board()
        identity, version, low, high = self.link.read_words(REGISTERS_AT, 4)
        self._expect("ID", identity, MAGIC)
        self._expect("VERSION", version, VERSION)
        self.identity = Identity(config_digest=low | high << 32, **asdict(board))
        return self.identity

    def load(self, image: Image, progress: Callable[[int, int], None] | None = None) -> bool:
        """Make an image the one to run; False if the board's memory held it already.

        The header is made invalid first and written last, so a broken upload is noticed.

        progress : told (bytes sent, bytes in all)
        Raises `DriverError` for an image of another machine and `BoardMemoryError` for one that
        is too large.
        """
        identity = self.identify()
        if identity.config_digest != image.config_digest:
            raise DriverError(
                f"the image is for config '{image.config_name}' ({image.config_digest:016x}), "
                f"{self.link.name} has a machine of config {identity.config_digest:016x}: compile "
                "the model for the board's preset"
            )
        memory = board_memory(image, identity.memory_bytes)
        self._image = self._memory = None
        held = self.link.read(0, HEADER_BYTES) == memory.header
        if not held:
            self._stop()
            self._upload(memory.content, progress or (lambda done, total: None))
        self._image, self._memory = image, memory
        return not held

    def run(self, patches: NDArray[np.int8]) -> Answer:
        """Run one picture.

        patches : int8 [patches, patch_dim]
        Raises `MachineFaultError` when the machine stops in its error state, `DriverError` when
        it does not come to an end; either way it is cleared, and the next picture can run.
        """
        began = time.perf_counter()
        image, memory = self._image, self._memory
        if image is None or memory is None:
            raise DriverError("no image is loaded: call load(image) first")
        content = image.pack_input(patches)
        self._stop()
        self.link.write(memory.bases[Window.INPUT], content)
        registers = {REGISTERS["INTERRUPT_ENABLE"]: 0, REGISTERS["WATCHDOG"]: self._watchdog_cycles}
        for window in Window:
            base, limit = window_address(window)
            registers |= {base: memory.bases[window], limit: memory.limits[window]}
        self._write_all(registers)
        self._write("CONTROL", Control.START.value)
        try:
            self._wait(image)
        except DriverError:
            self._stop()
            raise
        counters = self.counters()
        result = self.link.read(memory.bases[Window.RESULT], memory.limits[Window.RESULT])
        self._stop()
        return Answer(
            logits=image.unpack_result(result),
            counters=counters,
            wall_s=time.perf_counter() - began,
        )

    def check_header(self) -> None:
        """Raise `DriverError` if the board does not hold the loaded image any more."""
        if self._memory is None or self.link.read(0, HEADER_BYTES) != self._memory.header:
            self._image = self._memory = None
            raise DriverError(f"{self.link.name} does not hold the image any more: load it again")

    def counters(self) -> dict[str, int]:
        """The machine's counters, of this run or the last."""
        first = counter_address(COUNTERS[0])
        words = self.link.read_words(REGISTERS_AT + first, 2 * len(COUNTERS))
        return {
            name: words[2 * number] | words[2 * number + 1] << 32
            for number, name in enumerate(COUNTERS)
        }

    def _upload(self, content: bytes, progress: Callable[[int, int], None]) -> None:
        self.link.write(0, bytes(HEADER_BYTES))
        for at in range(HEADER_BYTES, len(content), _UPLOAD_STEP):
            self.link.write(at, content[at : at + _UPLOAD_STEP])
            progress(min(at + _UPLOAD_STEP, len(content)), len(content))
        self.link.write(0, content[:HEADER_BYTES])

    def _wait(self, image: Image) -> None:
        """Wait for the end of a run."""
        waited, pause = 0.0, self._poll_s
        while True:
            status, code, pc = self._outcome()
            if Status.ERROR in status:
                known = {error.value: error for error in Error}
                if code not in known:
                    raise DriverError(f"{self.link.name} has an unknown error code {code}")
                error = known[code]
                raise MachineFaultError(fault_text(error, pc, image.names), error, pc)
            if Status.DONE in status:
                return
            if Status.BUSY not in status:
                raise DriverError(
                    f"{self.link.name} was reset or cleared while it ran: run the picture again"
                )
            if waited >= self._run_s:
                raise DriverError(
                    f"{self.link.name} has not finished after {self._run_s:g} s; it was stopped"
                )
            self.link.pause(pause)
            waited += pause
            pause = min(2 * pause, 50 * self._poll_s)

    def _stop(self) -> None:
        """Bring the machine into its idle state, from any other."""
        for _ in range(_CLEAR_POLLS):
            status = self._status()
            if status == Status(0):
                return
            if status != Status.DRAINING:
                self._write("CONTROL", Control.CLEAR.value)
            self.link.pause(self._poll_s)
        raise DriverError(
            f"{self.link.name} cannot be cleared: STATUS stays {self._status()!r}; reset the board"
        )

    def _status(self) -> Status:
        return self._outcome()[0]

    def _outcome(self) -> tuple[Status, int, int]:
        """STATUS, ERROR_CODE and ERROR_PC, which stand side by side."""
        first = REGISTERS_AT + REGISTERS["STATUS"]
        value, code, pc = self.link.read_words(first, 3)
        if value >> len(Status):
            raise DriverError(f"{self.link.name} has an impossible STATUS {value:#x}")
        return Status(value), code, pc

    def _write(self, register: str, value: int) -> None:
        self.link.write_words(REGISTERS_AT + REGISTERS[register], [value])

    def _write_all(self, values: dict[int, int]) -> None:
        """Write registers by address, neighbours in one frame: every round trip counts."""
        addresses = sorted(values)
        starts = [at for at in addresses if at - WORD_BYTES not in values]
        for start in starts:
            words, at = [], start
            while at in values:
                words.append(values[at])
                at += WORD_BYTES
            self.link.write_words(REGISTERS_AT + start, words)

    def _expect(self, register: str, got: int, wanted: int) -> None:
        if got != wanted:
            part = "board" if register in BOARD_REGISTERS else "machine"
            raise DriverError(
                f"{self.link.name} has no sievit {part} of this release: register {register} is "
                f"{got:#x}, not {wanted:#x}"
            )
