"""Fourth step: the bytes of the program and of the WEIGHTS window."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.allocation import Allocation
from compiler.index_ring import index_content
from compiler.layers import Linear, Lowered, Norm
from compiler.program import Schedule
from spec.assembler import encode
from spec.formats import REQUANTIZE
from spec.isa import INSTRUCTION_BYTES

__all__ = ["Item", "encode_program", "encode_table", "weight_items"]

ENTRY = np.dtype(
    [("addend", "<i4"), ("multiplier", "<u2"), ("shift", "u1"), ("zero", "u1")], align=False
)
assert ENTRY.itemsize == REQUANTIZE.entry_bytes


def encode_program(schedule: Schedule) -> NDArray[np.uint8]:
    """Instruction words, uint8 [instructions, 32]."""
    words = b"".join(encode(instruction) for instruction in schedule.instructions)
    return np.frombuffer(words, np.uint8).reshape(-1, INSTRUCTION_BYTES).copy()


@dataclass(frozen=True, kw_only=True)
class Item:
    """A piece of the WEIGHTS window that instructions load."""

    name: str
    """Items of two programs are the same if name, kind and content are."""
    kind: tuple[Any, ...] = ()
    """What tells items of one name apart, however they are cut."""
    offset: int
    content: bytes


def weight_items(lowered: Lowered, allocation: Allocation) -> Iterator[Item]:
    """Position embedding, LayerNorm tables, column blocks, lists and places."""
    content = lowered.position.astype("<i2").tobytes()
    offset = allocation.position_offset
    yield Item(name="embed.position", offset=offset, content=content)
    norms = (layer for layer in lowered.layers if isinstance(layer, Norm))
    for offset, norm in zip(allocation.norm_offsets, norms, strict=True):
        content = encode_table(norm.offset, norm.gain, norm.shift)
        yield Item(name=norm.name, offset=offset, content=content)
    blocks = (
        (layer, block)
        for layer in lowered.layers
        if isinstance(layer, Linear)
        for block in layer.blocks
    )
    for offset, (layer, block) in zip(allocation.block_offsets, blocks, strict=True):
        kind = (layer.role, layer.source_word, block.word, block.first_input)
        content = b""
        for start in range(0, block.groups * lowered.lanes, lowered.lanes):
            own = slice(start, start + lowered.lanes)
            content += encode_table(block.addend[own], block.multiplier[own], block.shift[own])
            content += block.weight[:, own].tobytes()
        yield Item(name=layer.name, kind=kind, offset=offset, content=content)
    for item, (_, content) in zip(allocation.index, index_content(lowered), strict=True):
        yield Item(name=item.name, offset=item.offset, content=content.tobytes())


def encode_table(
    addend: NDArray[np.int64], multiplier: NDArray[np.int64], shift: NDArray[np.int64]
) -> bytes:
    """Table entries of consecutive channels; a LayerNorm's gain is a signed multiplier."""
    table = np.zeros(len(addend), ENTRY)
    table["addend"] = addend
    table["multiplier"] = multiplier & 0xFFFF
    table["shift"] = shift
    return table.tobytes()
