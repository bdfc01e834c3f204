"""The DRAM of the simulation (`sim/harness.v`): a latency, and beats in every ten cycles."""

from dataclasses import dataclass

__all__ = ["DRAM_PRESETS", "Dram"]


@dataclass(frozen=True, kw_only=True)
class Dram:
    """What a burst waits for."""

    latency: int
    """Cycles from a burst's acceptance to its first beat or response (0 is as 1)."""
    bandwidth: int
    """Beats that each data channel moves in 10 cycles."""
    phase: int = 0
    """Cycles from the DRAM's reset to cycle 0 of the run."""

    def nth(self, t: int, number: int) -> int:
        """The cycle of beat `number` (from 1) when all from cycle t on are used."""
        bandwidth = self.bandwidth
        wanted = (self.phase + t) * bandwidth // 10 + number
        return -(-10 * wanted // bandwidth) - self.phase - 1


DRAM_PRESETS = {
    "ideal": Dram(latency=0, bandwidth=10),
    "ddr": Dram(latency=64, bandwidth=9),
}
"""`ideal` never waits; `ddr` is what the simulation takes if nothing else is said."""
