"""Predicted runs of single images: the golden machine finds what sieves leave, then time is run."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from compiler import compile_steps
from compiler.efforts import first_efforts
from golden_model.machine import machine
from golden_model.sieve import Sieved
from perf_model.dram import Dram
from perf_model.machine import Prediction, predict
from perf_model.roofline import network_macs
from perf_model.stage_cycles import StageCycles
from perf_model.work import needs_work
from sim.experiment import attention_core_cycles
from spec.config import Config
from spec.dram import DramTiming
from spec.model_file import Model
from spec.pixels import batch_of, patches_of

__all__ = ["CAUSES", "ImageCycles", "ImageRun"]

CAUSES = ("tokens", "masked", "zero")
"""Why multiplications are left out."""
Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class ImageRun:
    """What one image takes."""

    cycles: int
    array_busy_cycles: int
    attention_core_cycles: int
    macs_done: int
    macs_skipped: dict[str, int]
    """By cause, of `CAUSES`; those of dropped tokens as `spec.reports.SIMULATE` counts them."""


class ImageCycles:
    """Compiles a model once and predicts images on it; any sieves."""

    def __init__(self, model: Model, config: Config, timing: DramTiming) -> None:
        self.model, self.config, self.timing = model, config, timing
        compiled = compile_steps(model, config)
        self.image, self.instructions = compiled.image, compiled.schedule.instructions
        self.by_data = needs_work(self.instructions)
        """Time depends on more than the numbers of tokens and the efforts."""
        self._stages = None
        if not self.by_data and len(model.config.passes) == 1:
            self._stages = StageCycles(model.config, config, timing, self.instructions)

    def retuned(self, model: Model) -> "ImageCycles":
        """The same for a model that differs in the thresholds of its stages."""
        return ImageCycles(model, self.config, self.timing) if self.by_data else self

    def each(
        self, images: NDArray[np.uint8], found: Sieved, progress: Progress | None = None
    ) -> NDArray[np.int64]:
        """Cycles of each image.

        images : uint8 [n, height, width] or [n, channels, height, width]
        found : what `sieve` says of them
        progress : called with 1 for each image, or each kind of them, that is done
        """
        if self._stages is not None:
            return self._stages.each(found.left, found.first, progress)
        runs = self.runs(images, found, progress)
        return np.array([run.cycles for run in runs], np.int64)

    def runs(
        self, images: NDArray[np.uint8], found: Sieved, progress: Progress | None = None
    ) -> list[ImageRun]:
        """The same with more of each run; on all cores.

        Images whose time can only differ by efforts and numbers of tokens are predicted once for
        each.
        """
        tell = progress or (lambda count: None)
        kinds, where = np.arange(len(images)), np.arange(len(images))
        if not self.by_data:
            every = [found.every_left, found.every_first]
            counts = np.concatenate(
                [found.effort[:, None], *(array.reshape(len(images), -1) for array in every)],
                axis=1,
            )
            _, kinds, where = np.unique(counts, axis=0, return_index=True, return_inverse=True)
        inputs = patches_of(batch_of(images[kinds], self.model.config), self.model.config)
        jobs = [(patches, *found.taken(kind)) for patches, kind in zip(inputs, kinds, strict=True)]
        runs = []
        workers = min(len(jobs), os.cpu_count() or 1)
        with ProcessPoolExecutor(workers) as pool:
            for run in pool.map(self._run, jobs):
                runs.append(run)
                tell(1)
        return [runs[kind] for kind in where.reshape(-1)]

    def predict(
        self, patches: NDArray[np.int8], left: NDArray[np.int64], first: NDArray[np.int64]
    ) -> Prediction:
        """One image's run.

        patches : int8 [patches, patch_dim]
        left, first : [efforts taken, stages], as `Sieved.every_left` has them
        """
        work = None
        if self.by_data:
            work = machine(self.image, self.config, patches).execution.work
        return predict(
            self.instructions,
            self.config,
            Dram(self.timing),
            live=left.reshape(-1).tolist(),
            first_dropped=[None if row < 0 else row for row in first.reshape(-1).tolist()],
            efforts=len(left),
            work=work,
        )

    def _run(self, job: tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.int64]]) -> ImageRun:
        run = self.predict(*job)
        taken = first_efforts(self.model.config, len(job[1]))
        dense = network_macs(replace(taken, stages=()))
        return ImageRun(
            cycles=run.cycles,
            array_busy_cycles=run.array_busy_cycles,
            attention_core_cycles=attention_core_cycles(self.image, run.ends),
            macs_done=run.macs,
            macs_skipped={
                "tokens": max(dense - network_macs(taken, job[1].reshape(-1).tolist()), 0),
                **run.skipped,
            },
        )
