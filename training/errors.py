"""The one exception type of this package."""

from spec.errors import SievitError

__all__ = ["TrainingError"]


class TrainingError(SievitError):
    """Training cannot go on; the message says what is wrong and what mends it."""
