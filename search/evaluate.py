"""What one point of a search is worth: accuracy, cycles, DRAM bytes, gates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from golden_model.sieve import sieve
from perf_model.energy import HOROWITZ, EnergyCosts, energy_proxy, row_memory_bytes
from perf_model.machine import Prediction
from perf_model.stage_cycles import spread_out
from quantize.datasets import Labelled
from search.gates import estimate_gates
from search.space import Space
from sim.image_cycles import ImageCycles
from spec.dram import DramTiming
from spec.errors import SievitError
from spec.pixels import batch_of, patches_of

__all__ = ["OBJECTIVES", "Evaluator"]

OBJECTIVES: dict[str, Literal["maximize", "minimize"]] = {
    "top1": "maximize",
    "cycles": "minimize",
    "dram_bytes": "minimize",
    "gates": "minimize",
}
"""What a search is for, as keys of `Evaluator.measure`, and which way is better."""


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Measures points; the same point gives the same figures in any process."""

    space: Space
    timing: DramTiming
    calibration: Labelled
    held_out: Labelled
    """Images that no choice of the search has seen."""
    predicted: int
    """Images of the calibration split of which cycles are predicted, evenly spread."""
    costs: EnergyCosts = HOROWITZ

    @property
    def sampled(self) -> NDArray[np.int64]:
        """Numbers of the images of which cycles are predicted."""
        return spread_out(len(self.calibration), self.predicted)

    def measure(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Figures of a point, or `refused`: why there is no such machine or program.

        top1 : share of the calibration images, integer golden model
        cycles, dram_bytes, macs, energy_proxy_uj : means of `image_cycles` and the like over the
            sampled images, predicted
        gates, logic_gates, sram_bytes : see `search.gates`; an estimate
        """
        try:
            point = self.space.point(values)
            cycles = ImageCycles(point.model, point.config, self.timing)
            images = self.calibration.images
            found = sieve(point.model, images, workers=1)
            some = self.sampled
            inputs = patches_of(batch_of(images[some], point.model.config), point.model.config)
            runs: list[Prediction] = []
            known: dict[tuple[Any, ...], Prediction] = {}
            for number, patches in zip(some, inputs, strict=True):
                left, first = found.taken(number)
                kind = (len(left), *left.flat, *first.flat, number if cycles.by_data else -1)
                if kind not in known:
                    known[kind] = cycles.predict(patches, left, first)
                runs.append(known[kind])
        except SievitError as error:
            return {"refused": str(error)}
        config = point.config
        gates = estimate_gates(config)
        macs = float(np.mean([run.macs for run in runs]))
        dram = float(np.mean([sum(run.dram_bytes.values()) for run in runs]))
        read = [row_memory_bytes(config, run.array_busy_cycles, run.idle_banks) for run in runs]
        sram = float(np.mean(read))
        return {
            "preset": config.name,
            "top1": float((found.predictions == self.calibration.labels).mean()),
            "cycles": float(np.mean([run.cycles for run in runs])),
            "image_cycles": [run.cycles for run in runs],
            "dram_bytes": dram,
            "macs": macs,
            "gates": gates.total,
            "logic_gates": gates.logic,
            "sram_bytes": config.sram_bytes,
            "energy_proxy_uj": energy_proxy(
                macs=macs, sram_bytes=sram, dram_bytes=dram, costs=self.costs
            ),
        }

    def check(self, values: Mapping[str, Any]) -> float:
        """Top-1 of a point on the images held out, as a share."""
        model = self.space.point(values).model
        found = sieve(model, self.held_out.images, workers=1)
        return float((found.predictions == self.held_out.labels).mean())
