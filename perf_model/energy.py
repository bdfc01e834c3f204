"""A proxy of the energy of an image: counts times published energies of an access.

It ranks runs of one kind of machine; it is no power figure. Left out are clocks, wires, leakage,
control, everything but the array's multiplications, row memory and DRAM, and how much a circuit
toggles: each access counts alike.
"""

from dataclasses import dataclass

from spec.config import Config

__all__ = ["HOROWITZ", "EnergyCosts", "energy_proxy", "row_memory_bytes"]


@dataclass(frozen=True, kw_only=True)
class EnergyCosts:
    """Picojoules of one event each."""

    mac_pj: float
    """A multiplication of 8 bits with its accumulation."""
    sram_byte_pj: float
    """A byte read from row memory."""
    dram_byte_pj: float
    """A byte moved to or from DRAM."""


HOROWITZ = EnergyCosts(
    mac_pj=0.2 + 0.1,
    sram_byte_pj=10 / 8,
    dram_byte_pj=1300 / 8,
)
"""M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, 45 nm:
multiplication of 8 bits 0.2 pJ, addition of 32 bits 0.1 pJ, 64 bits of an SRAM of 8 KiB 10 pJ, 64
bits of DRAM 1.3 to 2.6 nJ (the lower end)."""


def energy_proxy(
    *, macs: float, sram_bytes: float, dram_bytes: float, costs: EnergyCosts = HOROWITZ
) -> float:
    """Microjoules of the proxy, from counters of a run or predictions of them.

    macs : multiplications done (`macs_done`)
    sram_bytes : read from row memory (`row_words_read` x lanes)
    dram_bytes : moved through all windows (`dram_*_bytes`)
    """
    total = macs * costs.mac_pj + sram_bytes * costs.sram_byte_pj + dram_bytes * costs.dram_byte_pj
    return total / 1e6


def row_memory_bytes(config: Config, busy_cycles: int, idle_banks: int = 0) -> int:
    """Bytes that the array reads from row memory: a word of each bank that takes part in a step.

    idle_banks : banks that took no part, over all steps (`idle_banks`)

    1 to 3 % more than the counter `row_words_read` has.
    """
    return (config.banks * busy_cycles - idle_banks) * config.lanes
