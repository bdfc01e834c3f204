"""What all devices have in common: an image goes in once, inputs go in, answers come out."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from host.errors import DriverError
from spec.config import Config
from spec.image import Image

__all__ = ["Answer", "Device", "DeviceBase", "LocalDevice"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a device says of one picture."""

    logits: NDArray[np.int16]
    """int16 [classes]"""
    counters: dict[str, int]
    """By the names of `spec.registers.COUNTERS`; a device without a clock has few of them."""
    wall_s: float
    """What the picture took in all, transport included."""

    @property
    def cycles(self) -> int | None:
        """Cycles of the machine; None from a device that has no clock."""
        return self.counters.get("cycles") or None

    @property
    def prediction(self) -> int:
        """The class of the largest logit, the first of equals."""
        return int(self.logits.argmax())


class Device(Protocol):
    """A machine of any kind; also a context manager that closes it."""

    name: str

    @property
    def clock_hz(self) -> int | None:
        """Of the machine's clock, if it has a real one."""
        ...

    def load(self, image: Image) -> None:
        """Make an image the one to run; `ImageError` or `HostError` if it does not fit."""
        ...

    def run(self, inputs: Sequence[NDArray[np.int8]]) -> list[Answer]:
        """Run pictures one after the other.

        inputs : int8 [patches, patch_dim] each
        Raises `MachineFaultError` when the machine stops in its error state; the device can be
        used again after it.
        """
        ...

    def close(self) -> None:
        """Let go of whatever the device holds."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class DeviceBase:
    """What a device is if nothing else is said: no clock, nothing to close."""

    @property
    def clock_hz(self) -> int | None:
        """No clock."""
        return None

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class LocalDevice(DeviceBase):
    """A device whose machine is in this process and takes an image as it is."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._image: Image | None = None

    def load(self, image: Image) -> None:
        """Make an image the one to run; `ImageError` if it is for another machine."""
        image.check_config(self.config)
        self._image = image

    @property
    def image(self) -> Image:
        """The image that runs."""
        if self._image is None:
            raise DriverError("no image is loaded: call load(image) first")
        return self._image
