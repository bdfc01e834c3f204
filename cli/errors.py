"""How a command ends when not well."""

from spec.errors import CheckFailedError, SievitError

__all__ = ["BAD_INPUT", "CHECK_FAILED", "INTERRUPTED", "CheckFailedError", "UsageError"]

CHECK_FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130
"""As shells do after Ctrl-C."""


class UsageError(SievitError):
    """Arguments or files that cannot be used, or a missing tool: exit status 2."""
