"""How many gates a machine takes: a quick estimate, fitted to machines that were synthesised.

Each unit's NAND2 equivalents (`boards.gates` counts them in minutes) are a sum of counted parts
times what a part weighs; the weights are the least squares of `search.gate_samples`, each
sample by its relative error. SRAM is not logic: a bit counts `SRAM_NAND2`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from search.gate_samples import SAMPLES, Sample
from spec.config import Config
from spec.presets import preset

__all__ = ["PARTS", "SRAM_NAND2", "GateEstimate", "estimate_gates", "fit"]

SRAM_NAND2 = 0.5
"""NAND2 equivalents of an SRAM bit: a 6T cell of 45 nm is about 0.35 um2, the NAND2 of the library
that gates are weighed by 0.80 um2, and some more is decoders and amplifiers. A convention."""

Parts = tuple[float, ...]


def _flags(config: Config) -> tuple[bool, bool]:
    return config.zero_skip, config.attention_masks


def _mac_array(c: Config) -> Parts:
    return c.macs, c.head_groups * c.lanes, c.macs * c.attention_masks


def _epilogue(c: Config) -> Parts:
    sieves = (c.vector_lanes * c.attention_masks, c.vector_lanes * c.thresholds)
    return (*(c.head_groups * part for part in (1, c.vector_lanes, c.lanes)), *sieves)


def _softmax(c: Config) -> Parts:
    zeros, masks = _flags(c)
    own = (1, c.score_lanes, c.banks, c.banks * zeros, c.banks * masks)
    return tuple(c.head_groups * part for part in own)


def _sequencer(c: Config) -> Parts:
    return 1, c.head_groups * c.lanes, c.queue_depth, c.lanes * c.attention_masks


def _index_engine(c: Config) -> Parts:
    zeros, masks = _flags(c)
    return 1, c.lanes * zeros, c.lanes * masks


PARTS: dict[str, Callable[[Config], Parts]] = {
    "mac_array": _mac_array,
    "row_memory": lambda c: (c.head_groups * c.banks * c.lanes,),
    "token_memory": lambda c: (1, c.lanes, c.lanes * c.token_selector),
    "epilogue": _epilogue,
    "softmax": _softmax,
    "layer_norm": lambda c: (1, c.norm_lanes),
    "token_selector": lambda c: (1.0 * c.token_selector, c.lanes * c.token_selector),
    "sequencer": _sequencer,
    "index_engine": _index_engine,
    "effort_gate": lambda c: (1.0 * c.effort_gate,),
    "dma": lambda c: (1, c.bus_bits),
    "host": lambda c: (1, c.counter_bits),
}
"""Unit of `boards.units` -> its counted parts in a machine. Glue and tables are small, and left
out of the fit."""


@dataclass(frozen=True, kw_only=True)
class GateEstimate:
    """An estimate, in NAND2 equivalents."""

    units: dict[str, float]
    sram_bits: int

    @property
    def logic(self) -> float:
        """Logic and flip-flops, as `sievit synth --target gates` counts them."""
        return sum(self.units.values())

    @property
    def total(self) -> float:
        """The logic and what SRAM is worth."""
        return self.logic + self.sram_bits * SRAM_NAND2


def fit(samples: Sequence[Sample]) -> dict[str, NDArray[np.float64]]:
    """Weights of each unit's parts, from machines whose gates were counted.

    A unit that no sample has weighs nothing.
    """
    weights = {}
    for unit, parts in PARTS.items():
        rows = [
            (np.array(parts(preset(sample.preset)), np.float64), sample.units[unit])
            for sample in samples
            if sample.units.get(unit)
        ]
        left = np.array([row / counted for row, counted in rows])
        if not rows:
            left = np.zeros((0, len(parts(preset(samples[0].preset)))))
        weights[unit] = np.linalg.lstsq(left, np.ones(len(rows)), rcond=None)[0]
    return weights


@lru_cache(maxsize=1)
def _weights() -> dict[str, NDArray[np.float64]]:
    return fit(SAMPLES)


def estimate_gates(
    config: Config, weights: dict[str, NDArray[np.float64]] | None = None
) -> GateEstimate:
    """The gates of a machine.

    weights : of `fit`; those of all samples if not given
    """
    weights = weights or _weights()
    units = {
        unit: max(float(np.dot(weights[unit], parts(config))), 0.0) for unit, parts in PARTS.items()
    }
    return GateEstimate(units=units, sram_bits=8 * config.sram_bytes)
