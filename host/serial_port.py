"""Boards behind a serial port; pyserial (extra `serial`) is imported when one is opened."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from host.board_device import BoardDevice
from host.driver import Driver
from host.errors import LinkError
from host.link import Link
from spec.link import (
    BAUD,
    BITS_PER_BYTE,
    CHECKSUM_BYTES,
    MAX_WORDS,
    REQUEST_HEADER_BYTES,
    TIMEOUT_S,
    WORD_BYTES,
)

if TYPE_CHECKING:
    pass

__all__ = ["SerialTransport", "reply_s", "serial_device"]

WRITE_S = 10.0
"""A port that takes no bytes for so long is given up."""
LATENCY_S = 0.1
"""What adapters and operating systems may add to an answer."""


def reply_s(baud: int) -> float:
    """How long the answer to the longest request may take."""
    frame_bytes = REQUEST_HEADER_BYTES + MAX_WORDS * WORD_BYTES + CHECKSUM_BYTES
    return 2 * frame_bytes * BITS_PER_BYTE / baud + 2 * TIMEOUT_S + LATENCY_S


class SerialTransport:
    """A serial port as `host.link` wants it.

    port : a device (/dev/ttyUSB0, COM3) or a URL of pyserial (socket://host:port)
    Raises `LinkError` when the port cannot be opened, and whenever it fails.
    """

    def __init__(self, port: str, baud: int = BAUD) -> None:
        try:
            import serial
        except ModuleNotFoundError:
            raise LinkError(
                "pyserial is not installed; in the clone of sievit: pip install -e '.[serial]'"
            ) from None
        self._port, self._failure = port, (serial.SerialException, OSError)
        alone: dict[str, Any] = {} if "://" in port else {"exclusive": True}
        try:
            self._serial: serial.SerialBase = serial.serial_for_url(
                port, baudrate=baud, timeout=0, write_timeout=WRITE_S, **alone
            )
            self._serial.reset_input_buffer()
            self._hurry()
        except (*self._failure, ValueError) as error:
            number = getattr(error, "errno", None)
            reason = os.strerror(number) if number else str(error)
            raise LinkError(f"cannot open serial port {port} at {baud:,} baud: {reason}") from None

    def _hurry(self) -> None:
        """Ask the adapter to pass bytes on at once (Linux); not all ports can."""
        try:
            self._serial.set_low_latency_mode(True)  # type: ignore[attr-defined]
        except (AttributeError, NotImplementedError, ValueError, *self._failure):
            return

    def write(self, content: bytes) -> None:
        """Send bytes."""
        try:
            self._serial.write(content)
        except self._failure as error:
            raise LinkError(f"serial port {self._port} does not take bytes: {error}") from None

    def read(self, count: int, timeout_s: float) -> bytes:
        """Up to `count` bytes."""
        try:
            if self._serial.timeout != timeout_s:
                self._serial.timeout = timeout_s
            return self._serial.read(count)
        except self._failure as error:
            raise LinkError(f"serial port {self._port} is gone: {error}") from None

    def close(self) -> None:
        """Close the port."""
        self._serial.close()


def serial_device(
    port: str, baud: int = BAUD, *, progress: Callable[[int, int], None] | None = None
) -> BoardDevice:
    """The board at a serial port; `LinkError` when the port cannot be opened.

    progress : see `BoardDevice`
    """
    transport = SerialTransport(port, baud)
    link = Link(transport, reply_s=reply_s(baud), name=f"the board at {port}")
    return BoardDevice(Driver(link), close=transport.close, progress=progress)
