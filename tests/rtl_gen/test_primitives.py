"""Shifted adds and narrow shifts against Python's own arithmetic."""

import random
from itertools import product

import pytest
from amaranth.hdl import Module, Shape, Signal, signed
from amaranth.sim import Simulator

from rtl_gen.primitives.multiply import add, multiply, multiply_parts
from rtl_gen.primitives.narrow_shift import narrow_shift

WIDTHS = [(2, 2), (3, 5), (5, 3), (8, 9), (8, 4)]
"""Of the operands: all values of the first, up to 40 of the second."""


def values(shape, most):
    """The corners, and others, up to so many."""
    low = -(1 << shape.width - 1) if shape.signed else 0
    every = range(low, low + (1 << shape.width))
    if len(every) <= most:
        return list(every)
    return [every[0], every[-1], 0, *random.Random(1).sample(every, most - 3)]


def simulate(m, bench):
    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("signs", list(product((False, True), repeat=2)))
@pytest.mark.parametrize("widths", WIDTHS)
def test_products_of_shifted_adds(widths, signs, parts):
    shapes = [Shape(width, sign) for width, sign in zip(widths, signs, strict=True)]
    a, b = Signal(shapes[0]), Signal(shapes[1])
    m = Module()
    found = Signal(Shape(sum(widths), any(signs)))
    if parts == 1:
        made = multiply(m, a, b, logic=True)
        assert made.shape() == found.shape()
    else:
        terms = multiply_parts(m, a, b, parts=parts)
        assert len(terms) <= parts
        made = add(terms)
    m.d.comb += found.eq(made)

    async def bench(ctx):
        for x, y in product(values(shapes[0], 1 << 9), values(shapes[1], 40)):
            ctx.set(a, x)
            ctx.set(b, y)
            await ctx.delay(1e-9)
            assert ctx.get(found) == x * y, (x, y)

    simulate(m, bench)


@pytest.mark.parametrize(
    ("bits", "amount_bits", "kept"),
    [(12, 4, 5), (9, 3, 4), (20, 4, 3), (6, 4, 8), (5, 2, 5), (33, 6, 10)],
)
def test_narrow_shift(bits, amount_bits, kept):
    value, amount = Signal(signed(bits)), Signal(amount_bits)
    result, lost = Signal(signed(kept)), Signal()
    m = Module()
    made, beyond = narrow_shift(m, value, amount, kept)
    m.d.comb += [result.eq(made), lost.eq(beyond)]
    rng = random.Random(2)

    async def bench(ctx):
        seen = set()
        for _ in range(2000):
            x = rng.randrange(-(1 << bits - 1), 1 << bits - 1) >> rng.randrange(bits)
            shift = rng.randrange(1 << amount_bits)
            ctx.set(value, x)
            ctx.set(amount, shift)
            await ctx.delay(1e-9)
            wanted = x >> shift
            fits = -(1 << kept - 1) <= wanted < 1 << kept - 1
            seen.add(fits)
            assert ctx.get(lost) == (not fits), (x, shift)
            assert (ctx.get(result) < 0) == (wanted < 0), (x, shift)
            assert not fits or ctx.get(result) == wanted, (x, shift)
        assert seen == ({True, False} if bits > kept else {True})

    simulate(m, bench)
