"""Fourth step: the bytes of the program and of the WEIGHTS window."""

import numpy as np
from numpy.typing import NDArray

from compiler.allocation import Allocation
from compiler.index_ring import index_content
from compiler.layers import Linear, Lowered, Norm
from compiler.program import Schedule
from spec.assembler import encode
from spec.formats import REQUANTIZE
from spec.isa import INSTRUCTION_BYTES

__all__ = ["encode_program", "encode_table", "encode_weights"]

ENTRY = np.dtype(
    [("addend", "<i4"), ("multiplier", "<u2"), ("shift", "u1"), ("zero", "u1")], align=False
)
assert ENTRY.itemsize == REQUANTIZE.entry_bytes


def encode_program(schedule: Schedule) -> NDArray[np.uint8]:
    """Instruction words, uint8 [instructions, 32]."""
    words = b"".join(encode(instruction) for instruction in schedule.instructions)
    return np.frombuffer(words, np.uint8).reshape(-1, INSTRUCTION_BYTES).copy()


def encode_weights(lowered: Lowered, allocation: Allocation) -> NDArray[np.uint8]:
    """The WEIGHTS window, uint8 [bytes].

    Position embedding, LayerNorm tables, column blocks, lists and places.
    """
    window = np.zeros(allocation.weights_bytes, np.uint8)

    def put(offset: int, content: bytes) -> None:
        window[offset : offset + len(content)] = np.frombuffer(content, np.uint8)

    put(allocation.position_offset, lowered.position.astype("<i2").tobytes())
    norms = (layer for layer in lowered.layers if isinstance(layer, Norm))
    for offset, norm in zip(allocation.norm_offsets, norms, strict=True):
        put(offset, encode_table(norm.offset, norm.gain, norm.shift))
    blocks = (
        block for layer in lowered.layers if isinstance(layer, Linear) for block in layer.blocks
    )
    for offset, block in zip(allocation.block_offsets, blocks, strict=True):
        content = b""
        for start in range(0, block.groups * lowered.lanes, lowered.lanes):
            own = slice(start, start + lowered.lanes)
            content += encode_table(block.addend[own], block.multiplier[own], block.shift[own])
            content += block.weight[:, own].tobytes()
        put(offset, content)
    for item, (_, content) in zip(allocation.index, index_content(lowered), strict=True):
        put(item.offset, content.tobytes())
    return window


def encode_table(
    addend: NDArray[np.int64], multiplier: NDArray[np.int64], shift: NDArray[np.int64]
) -> bytes:
    """Table entries of consecutive channels; a LayerNorm's gain is a signed multiplier."""
    table = np.zeros(len(addend), ENTRY)
    table["addend"] = addend
    table["multiplier"] = multiplier & 0xFFFF
    table["shift"] = shift
    return table.tobytes()
