"""Latency-aware training: the loss on keep ratios, and the machine's latency-sparsity table."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .errors import TrainingError

__all__ = ["LatencyTable", "ratio_loss"]


def ratio_loss(alive: Tensor, keep: tuple[float, ...]) -> Tensor:
    """Squared distance of the keep ratios from their targets, summed over the stages.

    HeatViT eq. 20 with D of an image as the mean of its mask over all patches, which the paper
    leaves open; the batch is averaged before the square, so that images may differ.

    alive : [stages, n, patches], 0 or 1
    keep : of each stage, the share of all patches wanted behind it
    """
    found = alive.mean(dim=(1, 2))
    return (found - found.new_tensor(keep)).square().sum()


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """Cycles of an encoder block by its keep ratio (HeatViT, Table IV), as of `sievit latency`."""

    keep: tuple[float, ...]
    """Shares of the patches, falling from 1."""
    block_cycles: tuple[float, ...]
    """Of a block and a selector before it that leaves that share."""
    plain_cycles: tuple[float, ...]
    """Of a block without a selector of its own, on that share."""
    fixed_cycles: float
    """Of embedding and head."""

    def __post_init__(self) -> None:
        """Check that cycles do not fall with the share."""
        lengths = {len(self.keep), len(self.block_cycles), len(self.plain_cycles)}
        if len(lengths) > 1 or len(self.keep) < 2:
            raise TrainingError("keep and block_cycles must be as long as each other, at least 2")
        if self.keep[0] != 1 or self.keep[-1] <= 0:
            raise TrainingError(f"keep must fall from 1 and stay above 0, not {list(self.keep)}")
        if not all(a > b for a, b in pairwise(self.keep)):
            raise TrainingError(f"keep must fall, not {list(self.keep)}")
        for name, values in (
            ("block_cycles", self.block_cycles),
            ("block_cycles_dense", self.plain_cycles),
        ):
            if not all(a >= b > 0 for a, b in pairwise(values)):
                raise TrainingError(f"{name} must not rise, nor be 0: {list(values)}")
        if self.fixed_cycles < 0:
            raise TrainingError(f"fixed_cycles must be at least 0, not {self.fixed_cycles}")

    @classmethod
    def load(cls, path: Path) -> LatencyTable:
        """Read a table; without `block_cycles_dense`, every block counts with a selector.

        Where fewer patches take longer by a little (the package is a row more), the larger share
        counts as much.
        """
        try:
            values: Any = json.loads(path.read_text())
            return cls(
                keep=_numbers(values["keep"]),
                block_cycles=_rising(values["block_cycles"]),
                plain_cycles=_rising(values.get("block_cycles_dense", values["block_cycles"])),
                fixed_cycles=_numbers([values["fixed_cycles"]])[0],
            )
        except OSError as error:
            raise TrainingError(f"{path}: {error.strerror}") from None
        except KeyError as error:
            raise TrainingError(f"{path}: not a latency table: {error} is missing") from None
        except TrainingError as error:
            raise TrainingError(f"{path}: {error}") from None
        except (ValueError, TypeError) as error:
            raise TrainingError(f"{path}: not a latency table: {error}") from None

    def cycles(self, keep: float) -> float:
        """Cycles of a block and its selector at that keep ratio, interpolated."""
        return self._interpolated(keep, self.block_cycles)

    def keep_for(self, cycles: float) -> float:
        """The largest keep ratio of a block with no more cycles; at least the table's last."""
        largest = {
            taken: keep
            for keep, taken in zip(self.keep[::-1], self.block_cycles[::-1], strict=True)
        }
        return float(np.interp(cycles, list(largest), list(largest.values())))

    def model_cycles(self, keeps: Sequence[float]) -> float:
        """Cycles of a model whose blocks have these keep ratios (the sum of HeatViT's eq. 21).

        A block that keeps fewer patches than the one before it has a selector.
        """
        total, before = self.fixed_cycles, 1.0
        for keep in keeps:
            total += self._interpolated(
                keep, self.block_cycles if keep < before else self.plain_cycles
            )
            before = keep
        return total

    def _interpolated(self, keep: float, cycles: tuple[float, ...]) -> float:
        if not self.keep[-1] <= keep <= 1:
            raise TrainingError(f"keep must be in {self.keep[-1]}..1 of the table, not {keep}")
        return float(np.interp(keep, self.keep[::-1], cycles[::-1]))


def _rising(values: Any) -> tuple[float, ...]:  # noqa: ANN401
    """Numbers, none of them less than one that follows."""
    return tuple(np.maximum.accumulate(_numbers(values)[::-1])[::-1].tolist())


def _numbers(values: Any) -> tuple[float, ...]:  # noqa: ANN401
    numbers = tuple(float(value) for value in values)
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"must be finite numbers, not {values}")
    return numbers
