"""The weight ring: column blocks in a cyclic part of row memory, prefetched as far as it allows."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["RingBlock", "place_ring"]


@dataclass(frozen=True, kw_only=True)
class RingBlock:
    """Where a column block lies, and what its load has to wait for."""

    row: int
    size: int
    table: int
    after: int
    """The load may start when the first `after` blocks have been used; never decreases."""
    waits: bool
    """`after` is larger than for the block before: the load takes one WEIGHTS_FREE credit."""
    frees: bool
    """Some later load waits for exactly this block: its use gives the credit."""

    @property
    def end(self) -> int:
        """First row word behind it."""
        return self.row + self.size


def place_ring(sizes: Sequence[int], start: int, end: int, tables: int) -> tuple[RingBlock, ...]:
    """Place blocks one behind the other in words start .. end - 1, cyclically.

    Block i uses column table i mod `tables`. Uses retire in order, so the k-th credit of
    WEIGHTS_FREE is given by the k-th block with `frees`, and taken by the k-th with `waits`:
    that is the same distance for each k, and none is left over.
    """
    rows, after = [], []
    position, oldest = start, 0
    for number, size in enumerate(sizes):
        if position + size > end:
            position = start
        for other in range(number - 1, oldest - 1, -1):
            clash = rows[other] < position + size and position < rows[other] + sizes[other]
            if clash or number - other >= tables:
                oldest = other + 1
                break
        rows.append(position)
        after.append(oldest)
        position += size
    waited = set(after) - {0}
    return tuple(
        RingBlock(
            row=rows[number],
            size=size,
            table=number % tables,
            after=after[number],
            waits=after[number] > (after[number - 1] if number else 0),
            frees=number + 1 in waited,
        )
        for number, size in enumerate(sizes)
    )
