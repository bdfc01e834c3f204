"""Right shift that rounds half up."""

from amaranth.hdl import Value

__all__ = ["round_shift"]


def round_shift(value: Value, shift: int) -> Value:
    """Return `(value + ((1 << shift) >> 1)) >> shift`, signed when `value` is.

    shift : a constant; for a run-time shift see `Requantize`
    """
    return (value + (1 << shift >> 1)) >> shift
