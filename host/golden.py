"""The golden machine as a device."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from golden_model.machine import Execution, MachineError, machine
from host.device import Answer, LocalDevice
from host.errors import MachineFaultError, fault_text
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


class GoldenDevice(LocalDevice):
    """Runs images on `golden_model.machine`: no cycles, and the counters of `work_counters`."""

    name = "golden"

    def run(self, inputs: Sequence[NDArray[np.int8]]) -> list[Answer]:
        """Run pictures one after the other; see `Device`."""
        return [self._one(self.image, patches) for patches in inputs]

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
