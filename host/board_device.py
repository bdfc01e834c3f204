"""A board as a device: a driver, and the way to it."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from host.board_twin import BoardTwin, TwinTransport
from host.device import Answer, DeviceBase
from host.driver import Driver
from host.link import Link
from spec.config import Config
from spec.image import Image

__all__ = ["BoardDevice", "twin_device"]


class BoardDevice(DeviceBase):
    """Runs images on the machine behind a driver.

    close : lets go of the transport
    progress : told (bytes sent, bytes in all) while an image is uploaded
    """

    def __init__(
        self,
        driver: Driver,
        *,
        close: Callable[[], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.name, self.driver, self.progress = driver.link.name, driver, progress
        self._close = close

    @property
    def clock_hz(self) -> int | None:
        """As the board says when an image is loaded."""
        return self.driver.identity.clock_hz if self.driver.identity else None

    def load(self, image: Image) -> None:
        """Make an image the one to run; nothing is sent if the board holds it. See `Driver`."""
        self.driver.load(image, self.progress)

    def run(self, inputs: Sequence[NDArray[np.int8]]) -> list[Answer]:
        """Run pictures one after the other; see `Device`."""
        self.driver.check_header()
        return [self.driver.run(patches) for patches in inputs]

    def close(self) -> None:
        """Let go of the transport."""
        if self._close is not None:
            self._close()


def twin_device(
    config: Config,
    memory_bytes: int = 1 << 20,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> BoardDevice:
    """The board in software, in this process, behind the same link and driver as a real one.

    progress : see `BoardDevice`
    """
    transport = TwinTransport(BoardTwin(config, memory_bytes))
    return BoardDevice(Driver(Link(transport, name="the board's twin")), progress=progress)
