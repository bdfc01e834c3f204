"""The golden machine as a device."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from golden_model.machine import Execution, MachineError, machine
from host.device import Answer, DeviceBase
from host.errors import DriverError, MachineFaultError, fault_text
from spec.config import Config
from spec.image import Image

__all__ = ["GoldenDevice", "work_counters"]


def work_counters(execution: Execution) -> dict[str, int]:
    """Those counters of the machine that do not depend on time, from a golden run."""
    work = execution.work.values()
    return {
        "macs_done": sum(execution.macs.values()),
        "macs_skipped_masked": sum(execution.masked.values()),
        "macs_skipped_zero": sum(execution.zeros.values()),
        "index_words_read": sum(one.list_words for one in work),
        "values_cleared": sum(one.cleared for one in work),
        "instructions": len(execution.order) + execution.efforts,
        "efforts": execution.efforts,
        "attentions_skipped": execution.attentions_skipped,
    }


class GoldenDevice(DeviceBase):
    """Runs images on `golden_model.machine`: no cycles, and the counters of `work_counters`."""

    name = "golden"

    def __init__(self, config: Config) -> None:
        self.config = config
        self._image: Image | None = None

    def load(self, image: Image) -> None:
        """Make an image the one to run; `ImageError` if it is for another machine."""
        image.check_config(self.config)
        self._image = image

    def run(self, inputs: Sequence[NDArray[np.int8]]) -> list[Answer]:
        """Run pictures one after the other; see `Device`."""
        if self._image is None:
            raise DriverError("no image is loaded: call load(image) first")
        return [self._one(self._image, patches) for patches in inputs]

    def _one(self, image: Image, patches: NDArray[np.int8]) -> Answer:
        began = time.perf_counter()
        try:
            run = machine(image, self.config, patches)
        except MachineError as error:
            text = fault_text(error.code, error.pc, image.names)
            raise MachineFaultError(text, error.code, error.pc) from None
        return Answer(
            logits=run.logits,
            counters=work_counters(run.execution),
            wall_s=time.perf_counter() - began,
        )
