"""The exception of quantisation."""

from spec.errors import SievitError

__all__ = ["QuantizeError"]


class QuantizeError(SievitError, ValueError):
    """A float model or data set that cannot be used: one line that says where and why."""
