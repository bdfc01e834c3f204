"""Chunks of inputs: column blocks that are too long for row memory are used piece by piece.

All chunks of a column block but the last keep their int32 sums in token memory; all but the first
add to them. Two loop orders are possible: block by block (one column block's sums are kept at a
time) or chunk by chunk (those of all blocks; each part of the inputs is then read once through).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from compiler.layers import Block, Layer, Linear, Lowered
from compiler.packing import words
from spec.config import Config

__all__ = ["Chunking", "chunked"]


@dataclass(frozen=True, kw_only=True)
class Chunking:
    """How the inputs of one layer are split."""

    count: int = 1
    """Chunks."""
    outer: bool = False
    """The loop over chunks is outside the loop over column blocks."""


def chunked(lowered: Lowered, config: Config, plan: dict[str, Chunking]) -> Lowered:
    """The network with the layers named in `plan` in chunks."""
    layers: list[Layer] = []
    for layer in lowered.layers:
        chunking = plan.get(layer.name, Chunking()) if isinstance(layer, Linear) else Chunking()
        if isinstance(layer, Linear) and chunking.count > 1:
            layer = replace(layer, blocks=tuple(_split(layer, config.lanes, chunking)))
        layers.append(layer)
    return replace(lowered, layers=tuple(layers))


def _split(layer: Linear, lanes: int, chunking: Chunking) -> Iterable[Block]:
    """The pieces of all column blocks, in the order of their use."""
    size = words(words(layer.depth, lanes), chunking.count) * lanes
    starts = range(0, layer.depth, size)
    numbers = range(len(layer.blocks))
    order = (
        [(number, start) for start in starts for number in numbers]
        if chunking.outer
        else [(number, start) for number in numbers for start in starts]
    )
    for number, start in order:
        block, final = layer.blocks[number], start + size >= layer.depth
        yield replace(
            block,
            weight=block.weight[start : start + size],
            first_input=start,
            adds=start > 0,
            keeps=not final,
            slot=number if chunking.outer else 0,
            views=block.views if final else (),
        )
