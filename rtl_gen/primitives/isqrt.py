"""Integer square root of a 32-bit number, digit by digit."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spec.formats import NORM

__all__ = ["Isqrt"]

BITS = NORM.root_bits


class Isqrt(wiring.Component):
    """The exact floor of the square root, serial.

    Golden twin: `golden_model.units.isqrt.isqrt`. Latency: `LATENCY` cycles from the transfer of
    a number to its root; throughput: one number in `LATENCY` cycles, when the root is taken at
    once. Back-pressure: takes the next number when the last root has gone or goes.

    Parameters
    ----------
    digits_per_cycle : 1, 2, 4, 8 or 16 digits made in one cycle

    Members
    -------
    i : numbers, uint32
    o : their roots, uint16

    """

    i: In(stream.Signature(2 * BITS))
    o: Out(stream.Signature(BITS))

    def __init__(self, *, digits_per_cycle: int = 1) -> None:
        if digits_per_cycle < 1 or BITS % digits_per_cycle:
            raise ValueError(f"digits_per_cycle must divide {BITS}, not {digits_per_cycle}")
        self.digits_per_cycle = digits_per_cycle
        self.LATENCY = self.latency(digits_per_cycle)
        super().__init__()

    @staticmethod
    def latency(digits_per_cycle: int = 1) -> int:
        """Cycles from the transfer of a number to `o.valid`."""
        return BITS // digits_per_cycle + 1

    def elaborate(self, platform: object) -> Module:
        """Build the digit recurrence: two bits of the number in, one of the root out."""
        m = Module()
        number = Signal(2 * BITS)
        rest = Signal(BITS + 1)
        root = Signal(BITS)
        steps = Signal(range(BITS // self.digits_per_cycle + 1))

        next_rest, next_root = rest, root
        for digit in range(self.digits_per_cycle):
            high = 2 * BITS - 2 * digit
            extended = Cat(number[high - 2 : high], next_rest)
            trial = Signal(BITS + 4, name=f"trial_{digit}")
            # rest <= 2 * root always, so the extended one has at most BITS + 2 bits
            m.d.comb += trial.eq(extended[: BITS + 2] - Cat(Const(1, 2), next_root))
            next_rest = Mux(trial[-1], extended[: BITS + 1], trial[: BITS + 1])
            next_root = Cat(~trial[-1], next_root)[:BITS]

        m.d.comb += [
            self.o.payload.eq(root),
            self.i.ready.eq((steps == 0) & (~self.o.valid | self.o.ready)),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                number.eq(self.i.payload),
                rest.eq(0),
                root.eq(0),
                steps.eq(BITS // self.digits_per_cycle),
            ]
        with m.Elif(steps != 0):
            m.d.sync += [
                number.eq(number << 2 * self.digits_per_cycle),
                rest.eq(next_rest),
                root.eq(next_root),
                steps.eq(steps - 1),
                self.o.valid.eq(steps == 1),
            ]
        return m
