"""How a command ends when not well."""

__all__ = ["BAD_INPUT", "CHECK_FAILED", "CheckFailedError", "UsageError"]

CHECK_FAILED = 1
BAD_INPUT = 2


class CheckFailedError(Exception):
    """What was checked does not hold: exit status 1."""


class UsageError(Exception):
    """Arguments or files that cannot be used, or a missing tool: exit status 2."""
