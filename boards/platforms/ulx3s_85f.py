"""ULX3S with an LFE5U-85F."""

from amaranth.build.plat import TemplatedPlatform

from boards.board_file import BoardFile

__all__ = ["BOARD"]


def _platform() -> TemplatedPlatform:
    from amaranth_boards.ulx3s import ULX3S_85F_Platform

    return ULX3S_85F_Platform()


BOARD = BoardFile(
    name="ulx3s-85f",
    platform=_platform,
    device="85k",
    package="CABGA381",
    speed="6",
    clock="clk25",
    clock_hz=45_000_000,
    uart="uart",
    reset=("button_fire", 0),
    leds=4,
    preset="ulx3s",
    model="demo",
    memory_bytes=184 * 1024,
    first_seed=2,
)
