"""Failures of an export."""

from spec.errors import SievitError

__all__ = ["ExportError"]


class ExportError(SievitError, RuntimeError):
    """A bundle that cannot be written: one line that says what, where and what to do."""
