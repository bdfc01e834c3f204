"""What can go wrong on the way to an FPGA."""

from spec.errors import SievitError

__all__ = ["SynthesisError"]


class SynthesisError(SievitError):
    """A tool is missing, a machine does not fit, or a tool failed: one line that says which."""
