"""Cycles of many images of one model with stages, from a few predictions.

Between two selections the machine does the same for all images with equally many tokens, and in a
selection all but the loader waits. So a run is cut there: a prediction in which every stage leaves
the same number of tokens gives the time of each part for this number, and a selection's own time
is a formula. What is lost is what the loader can do during a selection, and the DRAM's pace.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from perf_model.dram import Dram
from perf_model.estimate import program_of
from perf_model.machine import predict
from perf_model.selection import select_cycles, selections_of
from spec.config import Config
from spec.dram import DramTiming
from spec.isa import Opcode
from spec.model_config import ModelConfig

__all__ = ["StageCycles"]


class StageCycles:
    """Compiles a model's shape once; predicts each number of tokens once.

    `exact` runs the whole program in time.
    """

    def __init__(self, model: ModelConfig, config: Config, timing: DramTiming) -> None:
        self.model, self.config, self.dram = model, config, Dram(timing)
        self.instructions, _ = program_of(model, config)
        self.selects = [pc for pc, op in enumerate(self.instructions) if op.opcode == Opcode.SELECT]
        self.parts = lru_cache(maxsize=None)(self._parts)

    def exact(self, left: Sequence[int], first: Sequence[int | None] = ()) -> int:
        """Cycles of an image that keeps so many tokens, see `selections_of`."""
        return predict(
            self.instructions, self.config, self.dram, live=left, first_dropped=first
        ).cycles

    def each(self, left: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
        """Cycles of images.

        left, first : [n, stages], as `golden_model.sieve` has them (-1: none is dropped)
        result : [n]
        """
        both = np.concatenate([left, first], axis=1)
        kinds, where = np.unique(both, axis=0, return_inverse=True)
        stages = len(self.model.stages)
        cycles = [self._cycles(kind[:stages].tolist(), kind[stages:].tolist()) for kind in kinds]
        return np.array(cycles, np.int64)[where.reshape(-1)]

    def _cycles(self, left: list[int], first: list[int]) -> int:
        if not left:
            return self.parts(0)[0]
        rows = [None if row < 0 else row for row in first]
        selections = selections_of(self.instructions, left, rows)
        own = sum(
            select_cycles(self.config, self.instructions[pc].fields, selections[pc])
            for pc in self.selects
        )
        counts = [self.model.tokens, *left]
        return own + sum(self.parts(count)[number] for number, count in enumerate(counts))

    def _parts(self, count: int) -> list[int]:
        """Cycles before, between and behind the stages, if all leave `count` tokens."""
        live = [count] * len(self.model.stages)
        found = predict(self.instructions, self.config, self.dram, live=live)
        selections = selections_of(self.instructions, live)
        marks, own, number = [0], [0], 0
        for pc in self.selects:
            fields = self.instructions[pc].fields
            own[-1] += select_cycles(self.config, fields, selections[pc])
            if not fields["more"]:
                marks.append(found.ends[pc])
                own.append(0)
                number += 1
        marks.append(found.cycles)
        return [end - start - less for (start, end), less in zip(pairwise(marks), own, strict=True)]
