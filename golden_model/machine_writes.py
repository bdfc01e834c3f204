"""Writes into the machine's memories, and what else an instruction did."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from golden_model.machine_memory import Memories
from golden_model.trace import Writes
from golden_model.units.threshold import threshold

__all__ = ["clear", "no_writes", "write_rows", "write_tokens"]


def no_writes(memory: Memories) -> Writes:
    """What an instruction of no rows writes."""
    return Writes.empty(memory.config.banks, memory.config.lanes)


def write_tokens(
    memory: Memories,
    address: NDArray[np.int64],
    data: NDArray[np.integer],
    mask: NDArray[np.bool_] | None = None,
) -> Writes:
    """Write token words in order; address [n], data [n, lanes] as bytes, mask [n, lanes]."""
    address = address.reshape(-1)
    content = np.ascontiguousarray(data).view(np.uint8).reshape(len(address), -1)
    if mask is None:
        mask = np.ones(content.shape, np.bool_)
    content = np.where(mask, content, 0).astype(np.uint8)
    memory.token[address] = np.where(mask, content, memory.token[address])
    return replace(no_writes(memory), token_address=address, token_data=content, token_mask=mask)


def write_rows(
    memory: Memories,
    address: NDArray[np.int64],
    data: NDArray[np.integer],
    bank: NDArray[np.int64] | None = None,
) -> Writes:
    """Write matrix rows in order; address [n], data [n, lanes], bank [n], -1: all banks."""
    address = address.reshape(-1)
    if bank is None:
        bank = np.arange(len(address)) % memory.config.banks
    content = np.ascontiguousarray(data).view(np.uint8)
    for number, at, row in zip(bank, address, content, strict=True):
        memory.row[slice(None) if number < 0 else number, at] = row
    return replace(no_writes(memory), row_bank=bank, row_address=address, row_data=content)


def clear(memory: Memories, x: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Apply a threshold, and count what it clears."""
    out = threshold(x, limit)
    cleared = int(((x != 0) & (out == 0)).sum())
    memory.work.cleared += cleared
    return out
