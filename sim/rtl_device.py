"""The simulated machine as a device."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from host.device import Answer, LocalDevice
from host.errors import MachineFaultError, fault_text
from sim.experiment import check_end
from sim.machine import Options, Outcome, Simulation
from spec.config import Config
from spec.dram import DEFAULT_DRAM, dram_preset
from spec.image import Image
from spec.registers import Status

__all__ = ["RtlDevice"]


class RtlDevice(LocalDevice):
    """Runs images on the emitted machine under `verilator` or `icarus`, with a DRAM beside it.

    Building takes a minute or two, once for each configuration. One call of `run` is one run of
    the simulator, so many pictures at once are faster.
    """

    def __init__(self, config: Config, simulator: str = "verilator") -> None:
        timing = dram_preset(DEFAULT_DRAM)
        super().__init__(config)
        self.name = f"rtl ({simulator})"
        self._simulation = Simulation.build(config, simulator)
        self._options = Options(latency=timing.latency, bandwidth=timing.bandwidth, trace=False)

    def run(self, inputs: Sequence[NDArray[np.int8]]) -> list[Answer]:
        """Run pictures one after the other; see `host.device.Device`."""
        image = self.image
        if not inputs:
            return []
        outcomes = self._simulation.run(image, inputs, self._options)
        return [_answer(outcome, image, at) for at, outcome in enumerate(outcomes)]


def _answer(outcome: Outcome, image: Image, number: int) -> Answer:
    if Status.ERROR in outcome.status:
        text = fault_text(outcome.error, outcome.error_pc, image.names)
        raise MachineFaultError(text, outcome.error, outcome.error_pc)
    check_end(outcome, image, number)
    assert outcome.logits is not None
    return Answer(logits=outcome.logits, counters=outcome.counters, wall_s=outcome.wall_s)
