"""The pace of the simulation's DRAM (`sim/axi_dram.v`)."""

from dataclasses import dataclass

from spec.dram import DramTiming

__all__ = ["Dram"]

SIMULATION_PHASE = 1
"""Cycles, modulo 10, from the reset of the test bench's DRAM to the start of a program."""


@dataclass(frozen=True)
class Dram:
    """Latency, and in which cycles of ten a beat may move."""

    timing: DramTiming
    phase: int = SIMULATION_PHASE

    @property
    def latency(self) -> int:
        """Cycles from a burst's acceptance to its first beat; at least 1."""
        return max(self.timing.latency, 1)

    def nth(self, t: int, number: int) -> int:
        """The cycle of beat `number` (from 1) when all from cycle t on are used."""
        bandwidth = self.timing.bandwidth
        wanted = (self.phase + t) * bandwidth // 10 + number
        return -(-10 * wanted // bandwidth) - self.phase - 1
