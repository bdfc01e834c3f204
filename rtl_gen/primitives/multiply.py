"""Products, from multipliers or from shifted adds."""

from amaranth.hdl import Cat, Module, Mux, Value

from rtl_gen.primitives.wire import wire

__all__ = ["add", "multiply", "multiply_parts"]


def multiply(m: Module, a: Value, b: Value, *, logic: bool = False) -> Value:
    """Multiply exactly: `len(a) + len(b)` bits, signed when an operand is.

    a, b : signed or unsigned
    logic : sum shifted copies instead, so that FPGA tools take LUTs and leave the DSP blocks to
        others
    """
    if not logic:
        return a * b
    is_signed = a.shape().signed or b.shape().signed
    product = multiply_parts(m, a, b, parts=1)[0][: len(a) + len(b)]
    return product.as_signed() if is_signed else product


def multiply_parts(m: Module, a: Value, b: Value, *, parts: int, logic: bool = True) -> list[Value]:
    """Values whose sum is the product: at most `parts`, so that a register can hold them.

    Without `logic` the product itself. See `multiply`.
    """
    if not logic:
        return [a * b]
    if len(a) < len(b):
        a, b = b, a
    a, b = wire(m, a), wire(m, b)
    terms = [Mux(bit, a, 0) for bit in b]
    size = -(-len(terms) // parts)
    starts = range(0, len(terms), size)
    return [
        _weighted(m, terms[at : at + size], b.shape().signed and at == starts[-1]).shift_left(at)
        for at in starts
    ]


def _weighted(m: Module, terms: list[Value], negative: bool) -> Value:
    """The sum of `terms[n] << n`; `negative`: less the last of them.

    An addition is only as wide as its operands overlap.
    """
    step = 1
    while len(terms) > 1:
        odd = terms[-1:] if len(terms) % 2 else []
        pairs = list(zip(terms[::2], terms[1::2], strict=False))
        terms = [_add(m, *pair, step) for pair in pairs[:-1]]
        terms += [_add(m, *pairs[-1], step, minus=negative and not odd), *odd]
        negative = negative and bool(odd)
        step *= 2
    return -terms[0] if negative else terms[0]


def _add(m: Module, low: Value, high: Value, step: int, *, minus: bool = False) -> Value:
    """`low + (high << step)`; `minus`: less the latter."""
    low = wire(m, low)
    rest = low >> step
    total = rest - high if minus else rest + high
    joined = Cat(low[:step], total)
    return joined.as_signed() if total.shape().signed else joined


def add(terms: list[Value]) -> Value:
    """The sum of all terms, added pairwise."""
    while len(terms) > 1:
        pairs = [left + right for left, right in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]
