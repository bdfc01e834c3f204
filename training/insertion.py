"""Where selectors go and how much they drop: HeatViT's Algorithm 1, block by block from the last.

The paper leaves some of it open. Here a keep ratio is of all patches; no block keeps fewer than the
one behind it; a step that costs too much accuracy is taken back; a merged selector has the smallest
keep ratio of its group, so that merging never makes a model slower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .errors import TrainingError
from .latency import LatencyTable

__all__ = ["Goal", "Insertion", "insert_selectors", "merge_selectors", "stages_of"]

Keeps = tuple[float, ...]
"""For each encoder block, the share of all patches that it works on."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What insertion is to reach, and what it may cost."""

    target_cycles: float
    accuracy_drop: float = 0.005
    """Below the dense model, in shares of 1; HeatViT's 0.5 %."""
    step: float = 0.1
    """By which a block's cycles fall in one step, as a share of those of a dense block."""
    merge_below: float = 0.085
    """Neighbours whose pruning rates differ by less than this become one."""
    rounds: int = 3
    """Attempts; each allows another `accuracy_drop`."""

    def __post_init__(self) -> None:
        if not 0 < self.step <= 1 or self.accuracy_drop < 0 or self.rounds < 1:
            raise TrainingError("step must be in 0..1, accuracy_drop at least 0, rounds at least 1")


@dataclass(frozen=True, kw_only=True)
class Insertion:
    """What insertion found."""

    keeps: Keeps
    cycles: float
    accuracy: float
    met: bool
    """Whether the target is met within the accuracy."""

    @property
    def stages(self) -> tuple[tuple[int, float], ...]:
        """(block, keep ratio) of every selector."""
        return stages_of(self.keeps)


def stages_of(keeps: Sequence[float]) -> tuple[tuple[int, float], ...]:
    """(block, keep ratio) of each block that keeps fewer patches than the one before it."""
    pairs = enumerate(pairwise(keeps), 1)
    return tuple((block, keep) for block, (before, keep) in pairs if keep < before)


def insert_selectors(
    table: LatencyTable,
    depth: int,
    dense_accuracy: float,
    evaluate: Callable[[Keeps], float],
    goal: Goal,
    tell: Callable[[str], None] = lambda line: None,
) -> Insertion:
    """Algorithm 1: lower keep ratios from the last block backwards until the target is met.

    evaluate : fine-tunes a model with these keep ratios for a while and returns its accuracy
    tell : gets a line for each step

    The first quarter of the blocks is left alone. A round that ends short of the target is followed
    by one that may lose more accuracy; after the last, the fastest model found is returned with
    `met` false.
    """
    least = table.model_cycles(
        [1.0] * _untouched(depth) + [table.keep[-1]] * (depth - _untouched(depth))
    )
    if least > goal.target_cycles:
        raise TrainingError(
            f"target_cycles {goal.target_cycles:,.0f}: the smallest keep ratio of the table, "
            f"{table.keep[-1]}, needs {least:,.0f}"
        )
    keeps, accuracy = (1.0,) * depth, dense_accuracy
    for attempt in range(1, goal.rounds + 1):
        floor = dense_accuracy - attempt * goal.accuracy_drop
        keeps, accuracy = _lower(table, keeps, accuracy, floor, evaluate, goal, tell)
        merged = merge_selectors(keeps, goal.merge_below)
        if merged != keeps:
            merged_accuracy = evaluate(merged)
            tell(f"merged: {_line(table, merged)}, accuracy {merged_accuracy:.2%}")
            if merged_accuracy >= floor:
                keeps, accuracy = merged, merged_accuracy
        if table.model_cycles(keeps) <= goal.target_cycles and accuracy >= floor:
            return _insertion(table, keeps, accuracy, met=True)
        tell(f"round {attempt} ends at {_line(table, keeps)}, accuracy {accuracy:.2%}")
    return _insertion(table, keeps, accuracy, met=False)


def merge_selectors(keeps: Keeps, below: float) -> Keeps:
    """Join neighbouring selectors whose pruning rates differ by less than `below`.

    A group is measured against its first selector, which stays, with the group's smallest ratio.
    """
    merged = list(keeps)
    stages = stages_of(keeps)
    while stages:
        first, keep = stages[0]
        group = [stages[0], *(stage for stage in stages[1:] if keep - stage[1] < below)]
        rest = stages[len(group) :]
        end = rest[0][0] if rest else len(keeps)
        merged[first:end] = [group[-1][1]] * (end - first)
        stages = rest
    return tuple(merged)


def _lower(
    table: LatencyTable,
    keeps: Keeps,
    accuracy: float,
    floor: float,
    evaluate: Callable[[Keeps], float],
    goal: Goal,
    tell: Callable[[str], None],
) -> tuple[Keeps, float]:
    """One pass from the last block backwards; keep ratios and accuracy at its end."""
    step = goal.step * table.block_cycles[0]
    for block in reversed(range(_untouched(len(keeps)), len(keeps))):
        while table.model_cycles(keeps) > goal.target_cycles:
            behind = keeps[block + 1] if block + 1 < len(keeps) else table.keep[-1]
            keep = max(table.keep_for(table.cycles(keeps[block]) - step), behind)
            if keep >= keeps[block]:
                break
            tried = (*keeps[:block], keep, *keeps[block + 1 :])
            found = evaluate(tried)
            tell(f"block {block}: {_line(table, tried)}, accuracy {found:.2%}")
            if found < floor:
                break
            keeps, accuracy = tried, found
    return keeps, accuracy


def _untouched(depth: int) -> int:
    """Blocks at the beginning without a selector: a quarter, at least the first."""
    return max(1, -(-depth // 4))


def _line(table: LatencyTable, keeps: Keeps) -> str:
    stages = ", ".join(f"{keep:.2f} before block {block}" for block, keep in stages_of(keeps))
    return f"{table.model_cycles(keeps):,.0f} cycles, keep {stages or 'all'}"


def _insertion(table: LatencyTable, keeps: Keeps, accuracy: float, *, met: bool) -> Insertion:
    cycles = table.model_cycles(keeps)
    return Insertion(keeps=keeps, cycles=cycles, accuracy=accuracy, met=met)
