"""What can go wrong on the way to an FPGA."""

__all__ = ["SynthesisError"]


class SynthesisError(Exception):
    """A tool is missing, a machine does not fit, or a tool failed: one line that says which."""
