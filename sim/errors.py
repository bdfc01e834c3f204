"""The exceptions of this package."""

from spec.errors import CheckFailedError, SievitError

__all__ = ["MachineStoppedError", "SimulationError"]


class SimulationError(SievitError, RuntimeError):
    """A simulation that could not be built, did not finish or failed: says which and why."""


class MachineStoppedError(SimulationError, CheckFailedError):
    """The simulated machine ended in its error state or broke a bus rule: a failed check."""
