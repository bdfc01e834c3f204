"""Reciprocal of a normalised 16-bit number: a restoring divider, pipelined or serial."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spec.formats import SOFTMAX

__all__ = ["Reciprocal"]

BITS = SOFTMAX.reciprocal_bits


class Reciprocal(wiring.Component):
    """`min(floor(2**31 / n), 65535)` for n in 2**15 .. 2**16 - 1.

    Golden twin: `golden_model.units.reciprocal.reciprocal`. Latency: `LATENCY` cycles, which is
    `Reciprocal.latency(digits_per_stage)`. Throughput: one a cycle; one in `LATENCY` cycles if
    `serial`. No back-pressure: what enters comes out.

    The first quotient digit is always 1. The others follow by doubling the remainder; n = 2**15
    leaves a remainder of n, so that all its digits are 1 and the quotient saturates by itself.

    Parameters
    ----------
    tag_bits : width of `tag`, which travels with the number
    digits_per_stage : quotient digits made in one cycle
    serial : one stage that goes round, instead of one behind the other

    Members
    -------
    valid, divisor, tag : the number, unsigned, in a cycle with `valid`
    result_valid, result, result_tag : its reciprocal, `LATENCY` cycles later

    """

    def __init__(
        self, *, tag_bits: int = 1, digits_per_stage: int = 2, serial: bool = False
    ) -> None:
        if not 1 <= digits_per_stage < BITS:
            raise ValueError(f"digits_per_stage must lie in 1..{BITS - 1}, not {digits_per_stage}")
        if tag_bits < 1:
            raise ValueError(f"tag_bits must be positive, not {tag_bits}")
        self.digits_per_stage, self.serial = digits_per_stage, serial
        self.LATENCY = self.latency(digits_per_stage)
        super().__init__(
            {
                "valid": In(1),
                "divisor": In(BITS),
                "tag": In(tag_bits),
                "result_valid": Out(1),
                "result": Out(BITS),
                "result_tag": Out(tag_bits),
            }
        )

    @staticmethod
    def latency(digits_per_stage: int = 2) -> int:
        """Cycles from `valid` to `result_valid`: the digits after the first."""
        return -(-(BITS - 1) // digits_per_stage)

    def elaborate(self, platform: object) -> Module:
        """Build the pipeline, or the one stage."""
        m = Module()
        if self.serial:
            self._go_round(m)
            return m
        valid, divisor, tag = self.valid, self.divisor, self.tag
        # remainder <= divisor: 2**16 - divisor after the first digit, 1
        remainder = Signal(BITS, name="remainder_0")
        m.d.comb += remainder.eq(-divisor)
        quotient, made = None, 0
        for stage in range(1, self.LATENCY + 1):
            rest, digits = remainder, quotient
            for _ in range(min(self.digits_per_stage, BITS - 1 - made)):
                made += 1
                rest, digit = _digit(m, rest, divisor, made)
                partial = Signal(made, name=f"digits_{made}")
                m.d.comb += partial.eq(digit if digits is None else Cat(digit, digits))
                digits = partial
            assert digits is not None
            stage_valid = Signal(name=f"valid_{stage}")
            stage_divisor = Signal(BITS, name=f"divisor_{stage}", reset_less=True)
            stage_tag = Signal(len(self.tag), name=f"tag_{stage}", reset_less=True)
            remainder = Signal(BITS, name=f"remainder_{stage}", reset_less=True)
            quotient = Signal(made, name=f"quotient_{stage}", reset_less=True)
            m.d.sync += [
                stage_valid.eq(valid),
                stage_divisor.eq(divisor),
                stage_tag.eq(tag),
                remainder.eq(rest),
                quotient.eq(digits),
            ]
            valid, divisor, tag = stage_valid, stage_divisor, stage_tag
        assert quotient is not None
        m.d.comb += [
            self.result_valid.eq(valid),
            self.result[:-1].eq(quotient),
            self.result[-1].eq(1),
            self.result_tag.eq(tag),
        ]
        return m

    def _go_round(self, m: Module) -> None:
        """One stage; the last round makes fewer digits where they do not come out even."""
        divisor, tag = Signal(BITS), Signal(len(self.tag))
        remainder, quotient = Signal(BITS), Signal(BITS)
        rounds = Signal(range(self.LATENCY + 1))
        first, last = rounds == 0, rounds == self.LATENCY - 1
        now = Signal(BITS)
        rest, digits = Signal(BITS, name="rest_0"), Signal(BITS, name="digits_0")
        m.d.comb += [
            now.eq(Mux(first, self.divisor, divisor)),
            rest.eq(Mux(first, -self.divisor, remainder)),
            digits.eq(Mux(first, 1, quotient)),
        ]
        short = (BITS - 1) % self.digits_per_stage
        ends = []
        for made in range(1, self.digits_per_stage + 1):
            rest, digit = _digit(m, rest, now, made)
            digits = Cat(digit, digits)[:BITS]
            ends.append(digits)
        with m.If(~first | self.valid):
            m.d.sync += [
                divisor.eq(now),
                remainder.eq(rest),
                quotient.eq(Mux(last & (short != 0), ends[short - 1], ends[-1])),
                rounds.eq(Mux(last, 0, rounds + 1)),
            ]
        with m.If(first & self.valid):
            m.d.sync += tag.eq(self.tag)
        m.d.sync += self.result_valid.eq(last)
        m.d.comb += [self.result.eq(quotient), self.result_tag.eq(tag)]


def _digit(m: Module, rest: Value, divisor: Value, number: int) -> tuple[Signal, Value]:
    """What is left of twice the remainder, and the quotient digit it gives."""
    trial = Signal(BITS + 2, name=f"trial_{number}")
    doubled = Signal(BITS + 1, name=f"doubled_{number}")
    left = Signal(BITS, name=f"rest_{number}")
    m.d.comb += [
        doubled.eq(rest << 1),
        trial.eq(doubled - divisor),
        left.eq(Mux(trial[-1], doubled, trial)),
    ]
    return left, ~trial[-1]
