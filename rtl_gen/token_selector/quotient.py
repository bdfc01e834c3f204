"""A small exact quotient: a restoring divider, a few digits a cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Quotient"]


class Quotient(wiring.Component):
    """`dividend // divisor`, for quotients of `bits` bits.

    Latency: `LATENCY` cycles. Throughput: one in `LATENCY` cycles; `start` may come with `valid`.

    Parameters
    ----------
    divisor_bits, bits : of the divisor, not 0, and of the quotient
    digits_per_cycle : divides `bits`

    Members
    -------
    start, dividend, divisor : dividend < divisor << bits
    valid, quotient : the quotient, `LATENCY` cycles later, for one cycle

    """

    def __init__(self, *, divisor_bits: int, bits: int, digits_per_cycle: int) -> None:
        if bits % digits_per_cycle:
            raise ValueError(f"digits_per_cycle must divide bits ({bits}), not {digits_per_cycle}")
        self.LATENCY = bits // digits_per_cycle
        self._digits = digits_per_cycle
        super().__init__(
            {
                "start": In(1),
                "dividend": In(divisor_bits + bits),
                "divisor": In(divisor_bits),
                "valid": Out(1),
                "quotient": Out(bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Remainder and quotient share the dividend's register, as the digits move out."""
        m = Module()
        bits = len(self.quotient)
        divisor, rest, low = Signal.like(self.divisor), Signal.like(self.divisor), Signal(bits)
        working = Signal(self.LATENCY)
        m.d.sync += working.eq(working << 1 | self.start)

        digits, remainder = low, rest
        for _ in range(self._digits):
            trial = Signal(len(divisor) + 2)
            doubled = Cat(digits[-1], remainder)
            m.d.comb += trial.eq(doubled - divisor)
            remainder = Mux(trial[-1], doubled, trial)[: len(divisor)]
            digits = Cat(~trial[-1], digits[:-1])
        with m.If(self.start):
            m.d.sync += [
                divisor.eq(self.divisor),
                rest.eq(self.dividend[bits:]),
                low.eq(self.dividend[:bits]),
            ]
        with m.Else():
            m.d.sync += [rest.eq(remainder), low.eq(digits)]
        m.d.comb += [self.valid.eq(working[-1]), self.quotient.eq(digits)]
        return m
