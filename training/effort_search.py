"""Which efforts and thresholds a model should have (PIVOT's second phase); needs no torch.

Every effort starts from the patches again, so the answer of any cascade is known from that of each
path alone: paths are run once, and all efforts and thresholds are tried on what they said. What is
chosen is chosen on the images of a calibration split, and reported on others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from golden_model.units.entropy_gate import gate_sums, log2
from spec.efforts import MAX_EFFORTS
from spec.formats import GATE, SOFTMAX

from .errors import TrainingError

__all__ = ["Choice", "Figures", "Goal", "Outcome", "Path", "choices", "choose", "entropy", "front"]

SHARES = {2: 40, 3: 20}
"""Thresholds tried at each gate, by the number of efforts: quantiles of the entropy there."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a path said of the images of a split."""

    right: NDArray[np.bool_]
    """[n]"""
    entropy: NDArray[np.int64]
    """[n], see `entropy`."""


@dataclass(frozen=True, kw_only=True)
class Path:
    """A pass of the network, and what it costs and is worth."""

    skipped: tuple[int, ...]
    """Blocks without attention."""
    cycles: int
    energy_proxy_uj: float
    """Microjoules, see `perf_model.energy`."""
    calibration: Outcome
    held_out: Outcome


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A cascade over the images of a split."""

    top1: float
    cycles: float
    """Mean of an image: of all passes it takes."""
    energy_proxy_uj: float
    """Likewise."""
    shares: tuple[float, ...]
    """Of the images, by the effort that answers."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Efforts with thresholds."""

    paths: tuple[int, ...]
    """Of each effort, by number."""
    thresholds: tuple[int, ...]
    """Of each effort but the last, in units of 2**-10 bit."""
    calibration: Figures
    held_out: Figures


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a choice has to reach on the calibration split."""

    max_drop: float = 0.005
    """Of top-1 below the path with the most cycles; without a target of cycles the fewest cycles
    within it are best."""
    target_cycles: float | None = None
    """The most cycles an image may take on average; the best accuracy within it is best."""
    low_share: float = 0.0
    """Share of the images that the first of several efforts must answer (PIVOT's LEC)."""


def entropy(logits: NDArray[np.int16], multiplier: int, shift: int) -> NDArray[np.int64]:
    """The smallest threshold at which the machine's gate is certain, in units of 2**-10 bit.

    logits, multiplier, shift : see `golden_model.units.entropy_gate.is_certain`
    """
    total, weighted = gate_sums(logits, multiplier, shift)
    bits = -(-(weighted << GATE.fraction_bits - SOFTMAX.fraction_bits) // total)
    return np.maximum(bits - GATE.unit + log2(total), 0)


def choices(paths: Sequence[Path], most_efforts: int = MAX_EFFORTS) -> Iterator[Choice]:
    """Every cascade of up to `most_efforts` of the paths, each effort dearer than the one before.

    Thresholds are quantiles of the entropy, over the calibration images that get there.
    """
    order = sorted(range(len(paths)), key=lambda number: paths[number].cycles)
    for count in range(1, most_efforts + 1):
        for chosen in combinations(order, count):
            cascade = [paths[number] for number in chosen]
            for thresholds in _thresholds([path.calibration for path in cascade], count):
                yield Choice(
                    paths=chosen,
                    thresholds=thresholds,
                    calibration=_figures(cascade, thresholds, "calibration"),
                    held_out=_figures(cascade, thresholds, "held_out"),
                )


def front(found: Sequence[Choice]) -> list[Choice]:
    """The choices that no other beats in both accuracy and cycles on calibration, by cycles."""
    ranked = sorted(found, key=lambda each: (each.calibration.cycles, -each.calibration.top1))
    best: list[Choice] = []
    for each in ranked:
        if not best or each.calibration.top1 > best[-1].calibration.top1:
            best.append(each)
    return best


def choose(found: Sequence[Choice], goal: Goal) -> Choice:
    """The choice that meets the goal best on calibration; `TrainingError` if none does."""
    allowed = [
        each
        for each in found
        if not each.thresholds or each.calibration.shares[0] >= goal.low_share
    ]
    if goal.target_cycles is not None:
        within = [each for each in allowed if each.calibration.cycles <= goal.target_cycles]
        if not within:
            least = min((each.calibration.cycles for each in allowed), default=0)
            raise TrainingError(
                f"no efforts take at most {goal.target_cycles:,.0f} cycles; "
                f"the fewest are {least:,.0f}"
            )
        return max(within, key=lambda each: (each.calibration.top1, -each.calibration.cycles))
    whole = max(
        (each for each in found if not each.thresholds), key=lambda each: each.calibration.cycles
    )
    least = whole.calibration.top1 - goal.max_drop
    within = [each for each in allowed if each.calibration.top1 >= least]
    if not within:
        raise TrainingError(
            f"no efforts with a low share of {goal.low_share:.0%} reach {least:.2%} on calibration"
        )
    return min(within, key=lambda each: (each.calibration.cycles, -each.calibration.top1))


def _thresholds(outcomes: Sequence[Outcome], count: int) -> Iterator[tuple[int, ...]]:
    """Thresholds of all efforts but the last, of those images that get to each."""
    if len(outcomes) == 1:
        yield ()
        return
    steps = np.arange(1, SHARES[count]) / SHARES[count]
    codes = np.quantile(outcomes[0].entropy, steps, method="lower")
    for threshold in np.unique(np.minimum(codes, GATE.max_threshold)).tolist():
        left = outcomes[0].entropy > threshold
        if not left.any():
            continue
        rest = [
            Outcome(right=each.right[left], entropy=each.entropy[left]) for each in outcomes[1:]
        ]
        for others in _thresholds(rest, count):
            yield (threshold, *others)


def _figures(cascade: Sequence[Path], thresholds: Sequence[int], split: str) -> Figures:
    outcomes: list[Outcome] = [getattr(path, split) for path in cascade]
    images = len(outcomes[0].right)
    left = np.ones(images, np.bool_)
    right, cycles, energy, shares = 0, 0, 0.0, []
    for number, (path, outcome) in enumerate(zip(cascade, outcomes, strict=True)):
        cycles += int(left.sum()) * path.cycles
        energy += int(left.sum()) * path.energy_proxy_uj
        ends = left.copy()
        if number < len(thresholds):
            ends &= outcome.entropy <= thresholds[number]
        right += int((ends & outcome.right).sum())
        shares.append(int(ends.sum()) / images)
        left &= ~ends
    return Figures(
        top1=right / images,
        cycles=cycles / images,
        energy_proxy_uj=energy / images,
        shares=tuple(shares),
    )
