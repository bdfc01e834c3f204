"""The one exception type of this package."""

__all__ = ["TrainingError"]


class TrainingError(Exception):
    """Training cannot go on; the message says what is wrong and what mends it."""
