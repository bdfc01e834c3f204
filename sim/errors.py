"""The one exception of this package."""

__all__ = ["SimulationError"]


class SimulationError(RuntimeError):
    """A simulation that could not be built, did not finish or failed: says which and why."""
