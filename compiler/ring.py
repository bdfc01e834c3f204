"""The weight ring: column blocks in a cyclic part of row memory, prefetched as far as it allows."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["RingBlock", "RingUse", "array_waits", "place_best", "place_ring", "place_uses"]


@dataclass(frozen=True, kw_only=True)
class RingUse:
    """One use of row memory, in the order of the array queue."""

    size: int
    first: int = 0
    """It must lie at this word or behind it."""
    hold: bool = False
    """Keys and values: not loaded, in words 0 .. size - 1. Their use is the last attention.

    Column blocks that are used while they are in place have `first` behind them.
    """
    load_cycles: int = 0
    """Cycles that the bus takes to bring it."""
    use_cycles: int = 0
    """Cycles that the array takes to use it."""


@dataclass(frozen=True, kw_only=True)
class RingBlock:
    """Where a column block lies, and what its load has to wait for."""

    row: int
    size: int
    table: int
    """-1 for keys and values."""
    after: int
    """The load may start when the first `after` uses are over; never decreases."""
    waits: bool
    """`after` is larger than for the block before: the load takes one WEIGHTS_FREE credit."""
    frees: bool
    """Some later load waits for exactly this use: it gives the credit."""

    @property
    def end(self) -> int:
        """First row word behind it."""
        return self.row + self.size


def place_ring(sizes: Sequence[int], start: int, end: int, tables: int) -> tuple[RingBlock, ...]:
    """Place blocks one behind the other in words start .. end - 1, cyclically."""
    return place_uses([RingUse(size=size, first=start) for size in sizes], end, tables)


def place_best(uses: Sequence[RingUse], end: int, tables: int) -> tuple[RingBlock, ...]:
    """The better of aligned and gapless placing, by the cycles that the array waits."""
    plans = [place_uses(uses, end, tables, aligned) for aligned in (False, True)]
    return min(plans, key=lambda ring: array_waits(uses, ring))


def array_waits(uses: Sequence[RingUse], ring: Sequence[RingBlock]) -> int:
    """Cycles in which the array waits for loads, if both need just the cycles that `uses` says."""
    loaded = waits = 0
    over = [0]
    for use, block in zip(uses, ring, strict=True):
        start = over[-1]
        if not use.hold:
            loaded = max(loaded, over[block.after]) + use.load_cycles
            start = max(start, loaded)
        waits += start - over[-1]
        over.append(start + use.use_cycles)
    return waits


def place_uses(
    uses: Sequence[RingUse], end: int, tables: int, aligned: bool = False
) -> tuple[RingBlock, ...]:
    """Place uses one behind the other in words 0 .. end - 1, cyclically.

    aligned : blocks start at multiples of their size, so that large ones lie over small ones with
        whole steps, not across the end of what the last ones need

    A block that would have to wait for keys and values goes behind them if it may be loaded
    earlier there. The i-th block uses column table i mod `tables`. Uses retire in order, so the
    k-th credit of WEIGHTS_FREE is given by the k-th use with `frees`, and taken by the k-th with
    `waits`: that is the same distance for each k, and none is left over.
    """
    rows: list[int] = []
    after: list[int] = []
    blocks: list[int] = []
    position, oldest = 0, 0

    def earliest(row: int, size: int) -> int:
        """How many uses must be over before words row .. row + size - 1 may be loaded."""
        for other in range(len(rows) - 1, oldest - 1, -1):
            if rows[other] < row + size and row < rows[other] + uses[other].size:
                return other + 1
        return oldest

    for number, use in enumerate(uses):
        if use.hold:
            rows.append(0)
            after.append(oldest)
            continue
        if aligned:
            position += -position % use.size
        if position < use.first or position + use.size > end:
            position = use.first
        table_free = blocks[-tables] + 1 if len(blocks) >= tables else 0
        needed = max(earliest(position, use.size), table_free)
        if needed and uses[needed - 1].hold:
            behind = uses[needed - 1].size
            if behind + use.size <= end and earliest(behind, use.size) < needed:
                position = behind
                needed = max(earliest(behind, use.size), table_free)
        oldest = max(oldest, needed)
        rows.append(position)
        after.append(oldest)
        blocks.append(number)
        position += use.size
    waited = set(after) - {0}
    tables_of = {number: index % tables for index, number in enumerate(blocks)}
    return tuple(
        RingBlock(
            row=rows[number],
            size=use.size,
            table=tables_of.get(number, -1),
            after=after[number],
            waits=after[number] > (after[number - 1] if number else 0),
            frees=number + 1 in waited,
        )
        for number, use in enumerate(uses)
    )
