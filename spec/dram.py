"""The memories that simulation and prediction know by name."""

from dataclasses import dataclass

from spec.errors import SievitError

__all__ = ["DEFAULT_DRAM", "DRAM_PRESETS", "DramError", "DramTiming", "dram_preset"]


class DramError(SievitError, ValueError):
    """A memory that does not exist: says which there are."""


@dataclass(frozen=True, kw_only=True)
class DramTiming:
    """What the bus's other side makes the machine wait for."""

    latency: int
    """Cycles from the acceptance of a burst to its first beat or response (0 is as 1)."""
    bandwidth: int
    """Beats that each data channel moves in 10 cycles at most, 1..10."""


DRAM_PRESETS = {
    "ideal": DramTiming(latency=0, bandwidth=10),
    "ddr": DramTiming(latency=64, bandwidth=9),
    "blockram": DramTiming(latency=3, bandwidth=10),
}
"""`ideal` never waits; `ddr` is what simulations use if nothing else is said; `blockram` is the
memory of a board (`rtl_gen.link.image_memory`)."""
DEFAULT_DRAM = "ddr"


def dram_preset(name: str) -> DramTiming:
    """The named memory; `DramError` lists the names there are."""
    if name not in DRAM_PRESETS:
        raise DramError(f"no dram '{name}'; there are {', '.join(DRAM_PRESETS)}")
    return DRAM_PRESETS[name]
