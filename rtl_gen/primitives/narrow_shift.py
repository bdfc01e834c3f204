"""Arithmetic right shift of which only the low bits are wanted."""

from amaranth.hdl import Cat, Const, Module, Mux, Value

from rtl_gen.primitives.wire import wire

__all__ = ["narrow_shift"]


def narrow_shift(m: Module, value: Value, amount: Value, bits: int) -> tuple[Value, Value]:
    """`value >> amount` in `bits` bits, signed, and whether it does not fit them.

    value : signed
    amount : unsigned

    Where it does not fit, only the sign of the first result is right. The large steps come first,
    so what cannot reach the low bits any more is dropped early: half the multiplexers of a shift
    in full.
    """
    value = wire(m, value)
    sign, lost = value[-1], Const(0, 1)
    for level in reversed(range(len(amount))):
        value = wire(m, Mux(amount[level], value >> (1 << level), value))
        reach = bits + (1 << level) - 1
        lost |= _differs(value[reach:], sign)
        value = value[:reach].as_signed()
    if len(value) < bits:
        return value, lost
    return Cat(value[: bits - 1], sign).as_signed(), lost | (value[bits - 1] != sign)


def _differs(upper: Value, sign: Value) -> Value:
    """Whether bits are not all copies of the sign."""
    return Mux(sign, ~upper.all(), upper.any()) if len(upper) else Const(0, 1)
