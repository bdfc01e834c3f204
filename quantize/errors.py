"""The exception of quantisation."""

__all__ = ["QuantizeError"]


class QuantizeError(ValueError):
    """A float model or data set that cannot be used: one line that says where and why."""
