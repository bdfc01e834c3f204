"""Between lowering and scheduling: chunks, tiles and places, by predicted cycles and bytes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from compiler.allocation import Allocation, allocate
from compiler.chunking import chunked
from compiler.errors import CompileError
from compiler.layers import ATTENTION_INPUTS, SELECTOR, Linear, Lowered
from compiler.packing import words
from spec.config import Config

__all__ = ["Candidate", "Plan", "plan"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to run the network, and what it would take."""

    chunks: dict[str, int]
    """Of the layers that are split."""
    lowered: Lowered
    allocation: Allocation

    @property
    def title(self) -> str:
        """What is particular about it."""
        split: dict[str, int] = {}
        for name, count in self.chunks.items():
            split[re.sub(r"^blocks\.\d+", "blocks.*", name)] = count
        parts = [f"{name} in {count} chunks" for name, count in split.items()]
        parts += ["proj before all tiles"] if self.allocation.tiling.proj_whole else []
        return ", ".join(parts) or "no chunks"

    @property
    def cost(self) -> tuple[int, int]:
        """Predicted cycles, and bytes of weights that are loaded."""
        return self.allocation.predicted_cycles, self.allocation.loaded_bytes


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The candidate that was chosen, and all that fit."""

    chosen: Candidate
    candidates: tuple[Candidate, ...]


def plan(lowered: Lowered, config: Config) -> Plan:
    """The cheapest candidate that fits; `CompileError` of the simplest if none does.

    Candidates differ in the chunks of inputs: as few as row memory allows, or so many that one
    chunk is loaded while another is used; for Q, K and V, which share it with keys and values, and
    for the other layers. And, if tokens are tiled on chip, in whether proj is.
    """
    found: list[Candidate] = []
    errors: list[CompileError] = []
    for chunks in _choices(lowered, config):
        try:
            split = chunked(lowered, config, chunks)
            allocation = allocate(split, config)
            found.append(Candidate(chunks=chunks, lowered=split, allocation=allocation))
            if allocation.tiling.tokens and not allocation.tiling.spilled:
                whole = allocate(split, config, proj_whole=True)
                if whole.tiling.proj_whole:
                    found.append(Candidate(chunks=chunks, lowered=split, allocation=whole))
        except CompileError as refusal:
            errors.append(refusal)
    if not found:
        raise errors[0]
    best = min(found, key=lambda candidate: candidate.cost)
    return Plan(chosen=best, candidates=tuple(found))


def _choices(lowered: Lowered, config: Config) -> Iterator[dict[str, int]]:
    """Each different set of chunks; the fewest first."""
    keys = 2 * lowered.key_groups * lowered.packing.head_words
    seen = []
    for shared, beside in product((1, 2), repeat=2):
        chunks = {}
        for layer in lowered.layers:
            if not isinstance(layer, Linear) or layer.role in SELECTOR[1:]:
                continue
            attention = layer.role in ATTENTION_INPUTS
            room = config.row_words - keys * attention
            most = room // (beside if attention else shared) * config.banks // config.lanes
            if most > 0:
                count = words(words(layer.depth, config.lanes), most)
                if count > 1:
                    chunks[layer.name] = count
        if chunks not in seen:
            seen.append(chunks)
            yield chunks
