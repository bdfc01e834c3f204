"""What a board is: its platform, its clock, its pins and what is put on it."""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.build.plat import TemplatedPlatform

from spec.link import BAUD

__all__ = ["BoardFile"]


@dataclass(frozen=True, kw_only=True)
class BoardFile:
    """Everything in which boards differ."""

    name: str
    platform: Callable[[], TemplatedPlatform]
    """Makes the amaranth-boards platform; imports it when called (extra `fpga`)."""
    device: str
    """Of `boards.ecp5.DEVICES`."""
    package: str
    speed: str
    """Speed grade."""
    clock: str
    """Resource of the oscillator."""
    clock_hz: int
    """The machine's clock; a PLL makes it if the oscillator has another."""
    uart: str
    """Resource with `rx` and `tx`, seen from the chip."""
    reset: tuple[str, int]
    """Resource of a button that resets the machine, active high as the platform declares it."""
    leds: int
    """`led` resources that show activity, busy, done and error, in this order."""
    preset: str
    """The machine, as `spec.presets.preset` takes it."""
    model: str
    """What is put into its memory."""
    memory_bytes: int
    """Block RAM for image, input and result."""
    first_seed: int = 1
    """Of the placements to try: one that met the clock."""
    baud: int = BAUD
