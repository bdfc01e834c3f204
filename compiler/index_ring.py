"""Lists of kept scores and places of keys in token memory: a ring that loads fill ahead.

Items in the order of their use: the places of a group of heads, used up by the last block of its V,
then the list of each of its heads, used up by its ATTENTION. TOKENS_READY says that an item is
there, TOKENS_FREE that another one may come in its place; `ring` plans which uses give that credit.
Only there other instructions of the array give TOKENS_FREE between two items: in programs that
spill, where the ring is empty at the beginning of each encoder block.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.layers import Attention, Linear, Lowered, Role
from compiler.regions import MAX_LOAD_WORDS, Region
from compiler.ring import place_ring

__all__ = ["LISTS", "IndexItem", "index_content", "index_items", "ring_sizes", "with_lists"]

LISTS = "lists"
"""The region."""
BUFFERS = (1, 2, 3)
"""Items that are in the ring at a time: one is the least that goes, with three a list is loaded
while the list before is in use."""


@dataclass(frozen=True, kw_only=True)
class IndexItem:
    """Places of a group's keys, or the list of a head."""

    name: str
    row: int
    """Its first word in the ring."""
    size: int
    """Words."""
    after: int
    """It may be loaded when so many items are used up."""
    waits: bool
    """Its load takes a TOKENS_FREE."""
    frees: bool
    """Its last use gives one."""
    offset: int = 0
    """In the WEIGHTS window."""


def index_content(lowered: Lowered) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Layer name and bytes of each item, in the order of use."""
    for layer in lowered.layers:
        items = []
        if isinstance(layer, Linear) and layer.role == Role.KEY:
            items = [layer.positions]
        elif isinstance(layer, Attention):
            items = [head.lists for head in layer.heads]
        for item in items:
            if item is not None:
                yield layer.name, _whole_rows(item, lowered.lanes)


def _whole_rows(content: NDArray[np.uint8], lanes: int) -> NDArray[np.uint8]:
    """What LOAD_TOKENS brings in one row, or in rows of two words."""
    odd = len(content) > MAX_LOAD_WORDS * lanes and len(content) // lanes % 2
    return np.pad(content, (0, lanes * odd))


def index_items(lowered: Lowered, size: int, by_block: bool) -> tuple[IndexItem, ...]:
    """The items, placed in a ring of `size` words.

    by_block : the ring is empty at the beginning of each encoder block
    """
    blocks: dict[str, list[tuple[str, int]]] = {}
    for name, content in index_content(lowered):
        block = name.split(".")[1] if by_block else ""
        blocks.setdefault(block, []).append((name, len(content) // lowered.lanes))
    out: list[IndexItem] = []
    for items in blocks.values():
        before = len(out)
        places = place_ring([length for _, length in items], 0, size, len(items))
        out += [
            IndexItem(
                name=name,
                row=place.row,
                size=place.size,
                after=before + place.after,
                waits=place.waits,
                frees=place.frees,
            )
            for (name, _), place in zip(items, places, strict=True)
        ]
    return tuple(out)


def ring_sizes(lowered: Lowered) -> list[int]:
    """Sizes that a ring may have, in words, the least first; one of 0 without lists."""
    sizes = np.array([len(item) // lowered.lanes for _, item in index_content(lowered)] or [0])
    windows = (
        np.lib.stride_tricks.sliding_window_view(sizes, min(count, len(sizes))).sum(axis=1)
        for count in BUFFERS
    )
    return sorted({int(window.max()) for window in windows})


def with_lists(regions: list[Region], size: int) -> list[Region]:
    """Also the ring, which is always in use, behind the first of the regions."""
    if not size:
        return regions
    phases = frozenset().union(*(region.phases for region in regions))
    ring = Region(name=LISTS, rows=1, stride=size, phases=phases)
    return [regions[0], ring, *regions[1:]]
