"""ULX3S with an LFE5U-25F (or the same chip sold as 12F)."""

from dataclasses import replace

from amaranth.build.plat import TemplatedPlatform

from boards.platforms import ulx3s_85f

__all__ = ["BOARD"]


def _platform() -> TemplatedPlatform:
    from amaranth_boards.ulx3s import ULX3S_25F_Platform

    return ULX3S_25F_Platform()


BOARD = replace(
    ulx3s_85f.BOARD,
    name="ulx3s-25f",
    platform=_platform,
    device="25k",
    clock_hz=50_000_000,
    preset="small",
    model="demo-small",
    memory_bytes=56 * 1024,
)
