"""Chunks of inputs: column blocks that are too long for row memory are used piece by piece.

All chunks of a column block but the last keep their int32 sums in token memory; all but the first
add to them. The loop is block by block, so one column block's sums are kept at a time: chunk by
chunk would keep those of all blocks and move the same bytes (`compiler.loop_orders` shows both).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from compiler.layers import Block, Layer, Linear, Lowered
from compiler.packing import words
from spec.config import Config

__all__ = ["chunked"]


def chunked(lowered: Lowered, config: Config, counts: Mapping[str, int]) -> Lowered:
    """The network with the layers named in `counts` in that many chunks."""
    layers: list[Layer] = []
    for layer in lowered.layers:
        if isinstance(layer, Linear) and layer.name in counts:
            layer = replace(layer, blocks=tuple(_split(layer, config.lanes, counts[layer.name])))
        layers.append(layer)
    return replace(lowered, layers=tuple(layers))


def _split(layer: Linear, lanes: int, count: int) -> Iterable[Block]:
    """The pieces of all column blocks, in the order of their use."""
    size = words(words(layer.depth, lanes), count) * lanes
    for block in layer.blocks:
        for start in range(0, layer.depth, size):
            final = start + size >= layer.depth
            yield replace(
                block,
                weight=block.weight[start : start + size],
                first_input=start,
                adds=start > 0,
                keeps=not final,
                views=block.views if final else (),
            )
