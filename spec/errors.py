"""The exceptions that every package's own derive from."""

__all__ = ["CheckFailedError", "SievitError"]


class SievitError(Exception):
    """Something that cannot be used or done; the message is one line a person can act on.

    The command line prints it and ends with status 2.
    """


class CheckFailedError(SievitError):
    """What was checked does not hold; the command line ends with status 1."""
