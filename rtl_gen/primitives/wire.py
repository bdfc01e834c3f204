"""A name for a value, so that it is built once however often it is used."""

from amaranth.hdl import Module, Signal, Value

__all__ = ["wire"]


def wire(m: Module, value: Value) -> Signal:
    """A signal of the value's shape that always has its value.

    Amaranth emits an expression anew wherever it stands: one that uses its operands twice, of which
    each does the same, grows by powers of two, and simulators pay for each copy.
    """
    named = Signal(value.shape())
    m.d.comb += named.eq(value)
    return named
