"""What becomes of an epilogue command's results."""

from amaranth.hdl import Value
from amaranth.lib import data

from spec.isa import Activation, Destination

__all__ = [
    "accumulates",
    "is_gelu",
    "is_partial",
    "is_relu",
    "is_residual",
    "is_rows",
    "is_wide",
]


def accumulates(command: data.View) -> Value:
    """Whether sums of an earlier command are added."""
    return ~command.attention & command.accumulate


def is_wide(command: data.View) -> Value:
    """Whether the results are int16."""
    destination = command.destination
    wide = (destination == Destination.RESIDUAL) | (destination == Destination.WIDE)
    return ~command.attention & (wide | (destination == Destination.PARTIAL))


def is_partial(command: data.View) -> Value:
    """Whether the results are the sums themselves."""
    return ~command.attention & (command.destination == Destination.PARTIAL)


def is_residual(command: data.View) -> Value:
    """Whether the results are added to word pairs."""
    return ~command.attention & (command.destination == Destination.RESIDUAL)


def is_rows(command: data.View) -> Value:
    """Whether they go to row memory."""
    return ~command.attention & (command.destination == Destination.ROWS)


def is_gelu(command: data.View) -> Value:
    """Whether the results go through GELU: int16 results have no activation."""
    gelu = command.activation == Activation.GELU
    return ~command.attention & gelu & ~is_wide(command)


def is_relu(command: data.View) -> Value:
    """Whether results below 0 become 0, likewise."""
    relu = command.activation == Activation.RELU
    return ~command.attention & relu & ~is_wide(command)
