"""Cycles of many images of one model with stages: a prediction for each that differs."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from numpy.typing import NDArray

from perf_model.dram import Dram
from perf_model.estimate import program_of
from perf_model.machine import predict
from spec.assembler import Instruction
from spec.config import Config
from spec.dram import DramTiming
from spec.model_config import ModelConfig

__all__ = ["StageCycles", "spread_out"]

FEW = 32
"""Predictions that are not worth other processes."""


class StageCycles:
    """Compiles a model's shape once, and keeps what has been predicted."""

    def __init__(
        self,
        model: ModelConfig,
        config: Config,
        timing: DramTiming,
        instructions: Sequence[Instruction] | None = None,
    ) -> None:
        """Take a compiled program of the model, or compile one of its shape."""
        self.model, self.config, self.dram = model, config, Dram(timing)
        self.instructions = instructions or program_of(model, config)[0]
        self.known: dict[tuple[int, ...], int] = {}

    def one(self, left: Sequence[int], first: Sequence[int | None] = ()) -> int:
        """Cycles of an image that keeps so many tokens, see `selections_of`."""
        return predict(
            self.instructions, self.config, self.dram, live=left, first_dropped=first
        ).cycles

    def each(
        self,
        left: NDArray[np.int64],
        first: NDArray[np.int64],
        progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.int64]:
        """Cycles of images, on all cores if there are many.

        left, first : [n, stages], as `golden_model.sieve` has them (-1: none is dropped)
        progress : called with 1 for each prediction
        result : [n]
        """
        kinds = [tuple(row) for row in np.concatenate([left, first], axis=1).tolist()]
        new = sorted(set(kinds) - self.known.keys())
        tell = progress or (lambda count: None)
        if len(new) <= FEW:
            for kind in new:
                self.known[kind] = self._kind(kind)
                tell(1)
        else:
            with ProcessPoolExecutor(os.cpu_count()) as pool:
                results = pool.map(self._kind, new, chunksize=8)
                for kind, cycles in zip(new, results, strict=True):
                    self.known[kind] = cycles
                    tell(1)
        return np.array([self.known[kind] for kind in kinds], np.int64)

    def _kind(self, kind: tuple[int, ...]) -> int:
        stages = len(self.model.stages)
        return self.one(kind[:stages], [None if row < 0 else row for row in kind[stages:]])


def spread_out(count: int, wanted: int) -> NDArray[np.int64]:
    """`wanted` numbers of 0 .. count - 1, evenly spread; all of them if `wanted` is 0."""
    if not wanted or wanted >= count:
        return np.arange(count)
    return np.linspace(0, count - 1, wanted).round().astype(np.int64)
