"""Products, from multipliers or from shifted adds."""

from amaranth.hdl import Mux, Value

__all__ = ["add", "multiply", "multiply_parts"]


def multiply(a: Value, b: Value, *, logic: bool = False) -> Value:
    """Multiply exactly: `len(a) + len(b)` bits, signed when an operand is.

    a, b : signed or unsigned
    logic : sum shifted copies instead, so that FPGA tools take LUTs and leave the DSP blocks to
        others
    """
    if not logic:
        return a * b
    is_signed = a.shape().signed or b.shape().signed
    product = add(multiply_parts(a, b, parts=1))[: len(a) + len(b)]
    return product.as_signed() if is_signed else product


def multiply_parts(a: Value, b: Value, *, parts: int, logic: bool = True) -> list[Value]:
    """Values whose sum is the product: at most `parts`, so that a register can hold them.

    Without `logic` the product itself. See `multiply`.
    """
    if not logic:
        return [a * b]
    if len(a) < len(b):
        a, b = b, a
    terms = [Mux(b[index], a, 0).shift_left(index) for index in range(len(b))]
    if b.shape().signed:
        terms[-1] = -terms[-1]
    size = -(-len(terms) // parts)
    return [add(terms[at : at + size]) for at in range(0, len(terms), size)]


def add(terms: list[Value]) -> Value:
    """The sum of all terms, added pairwise."""
    while len(terms) > 1:
        pairs = [left + right for left, right in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]
