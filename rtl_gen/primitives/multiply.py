"""Products, from multipliers or from shifted adds."""

from amaranth.hdl import Cat, Mux, Value

__all__ = ["multiply"]


def multiply(a: Value, b: Value, *, logic: bool = False) -> Value:
    """Multiply exactly: `len(a) + len(b)` bits, signed when an operand is.

    a, b : signed or unsigned
    logic : sum shifted copies instead, so that FPGA tools take LUTs and leave the DSP blocks to
        others
    """
    if not logic:
        return a * b
    if len(a) < len(b):
        a, b = b, a
    is_signed = a.shape().signed or b.shape().signed
    # Sums with the place of their lowest bit; an addition is only as wide as its operands overlap
    terms = [(place, Mux(bit, a, 0)) for place, bit in enumerate(b)]
    negative = b.shape().signed  # the last of them
    while len(terms) > 1:
        odd = terms[-1:] if len(terms) % 2 else []
        pairs = list(zip(terms[::2], terms[1::2], strict=False))
        terms = [_add(*pair) for pair in pairs[:-1]]
        terms += [_add(*pairs[-1], minus=negative and not odd), *odd]
        negative = negative and bool(odd)
    total = -terms[0][1] if negative else terms[0][1]
    product = total[: len(a) + len(b)]
    return product.as_signed() if is_signed else product


def _add(
    low: tuple[int, Value], high: tuple[int, Value], *, minus: bool = False
) -> tuple[int, Value]:
    """Add a value at a higher place to one, or subtract it."""
    place, value = low
    step = high[0] - place
    rest = value >> step
    total = rest - high[1] if minus else rest + high[1]
    joined = Cat(value[:step], total)
    return place, joined.as_signed() if total.shape().signed else joined
