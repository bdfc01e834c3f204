"""Devices by name: what `--device` takes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import UsageError
from cli.options import check_simulator, require

if TYPE_CHECKING:
    from host.device import Device
    from spec.config import Config

__all__ = ["DEVICE_HELP", "DeviceOption", "open_device"]

DEVICE_HELP = (
    "golden (the integer golden machine), twin (the same behind a board's link, in software), rtl "
    "or rtl:icarus (simulated Verilog), serial:PORT or serial:PORT@BAUD (a board; the speed is "
    "that of all boards here unless said otherwise)."
)
DeviceOption = Annotated[str, typer.Option("--device", help=DEVICE_HELP)]


def open_device(
    name: str, config: "Config", progress: Callable[[int, int], None] | None = None
) -> "Device":
    """Open a device; `UsageError` for a name that is none.

    config : the machine that the device has (golden, rtl) or should have (a board)
    progress : told (bytes sent, bytes in all) while a board is sent an image
    """
    kind, _, rest = name.partition(":")
    if kind == "golden" and not rest:
        from host.golden import GoldenDevice

        return GoldenDevice(config)
    if kind == "twin" and not rest:
        from host.board_device import twin_device

        return twin_device(config, progress=progress)
    if kind == "rtl":
        require("sim")
        from sim.rtl_device import RtlDevice

        check_simulator(rest or "verilator")
        return RtlDevice(config, rest or "verilator")
    if kind == "serial" and rest:
        require("serial")
        from host.serial_port import serial_device
        from spec.link import BAUD

        port, at, speed = rest.rpartition("@")
        if not at:
            port, speed = rest, str(BAUD)
        if not speed.isdecimal() or not 300 <= int(speed) <= 20_000_000:
            raise UsageError(f"--device {name}: '{speed}' is no speed in baud, 300..20000000")
        return serial_device(port, int(speed), progress=progress)
    raise UsageError(f"--device must be golden, twin, rtl, rtl:icarus or serial:PORT, not '{name}'")
