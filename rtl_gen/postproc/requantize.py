"""From an accumulator to a scale of its own."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.primitives.multiply import multiply
from rtl_gen.primitives.narrow_shift import narrow_shift
from spec.formats import REQUANTIZE

__all__ = ["Requantize"]

LOW_BITS = 17
"""Of x, in one of two multipliers."""


class Requantize(wiring.Component):
    """`clip(((x + addend) * multiplier, rounded half up) >> shift)`, pipelined.

    Golden twin: `golden_model.units.requantize`. Latency: `latency` cycles with `enable` high,
    one result a cycle; a cycle with `enable` low stops the whole pipeline.

    x_bits : bits of x, signed
    addend_bits : bits of the addend, signed; 0 leaves out port and stage
    low, high : bounds of the result
    logic : multiply in LUTs
    split : keep the product as those of x's halves, and add them up a stage later: for FPGAs, whose
        multipliers take 18 bits

    Members: `x`, `addend`, `multiplier`, `shift` (0 .. 48) in the same cycle; `o` later.
    """

    LATENCY = 4
    LATENCY_WITHOUT_ADDEND = 3

    def __init__(
        self,
        *,
        low: int,
        high: int,
        x_bits: int = 32,
        addend_bits: int = REQUANTIZE.addend_bits,
        logic: bool = False,
        split: bool = False,
    ) -> None:
        self._split = split and x_bits > LOW_BITS + 1
        self._low, self._high = low, high
        self._logic = logic
        self.latency = self.LATENCY if addend_bits else self.LATENCY_WITHOUT_ADDEND
        members = {
            "enable": In(1),
            "x": In(signed(x_bits)),
            "multiplier": In(REQUANTIZE.multiplier_bits),
            "shift": In(REQUANTIZE.shift_bits),
            "o": Out(signed(max((~low).bit_length(), high.bit_length()) + 1)),
        }
        if addend_bits:
            members["addend"] = In(signed(addend_bits))
        super().__init__(members)
        self._has_addend = addend_bits > 0

    def elaborate(self, platform: object) -> Module:
        """Stages: add, multiply, shift, round and clip."""
        m = Module()

        total, multiplier, shift = self.x, self.multiplier, self.shift
        if self._has_addend:
            total = Signal((self.x + self.addend).shape(), reset_less=True)
            multiplier = Signal.like(self.multiplier, reset_less=True)
            shift = Signal.like(self.shift, reset_less=True)
            with m.If(self.enable):
                m.d.sync += [
                    total.eq(self.x + self.addend),
                    multiplier.eq(self.multiplier),
                    shift.eq(self.shift),
                ]

        halves = [total]
        if self._split:
            halves = [total[:LOW_BITS], total[LOW_BITS:].as_signed()]
        products = [
            Signal((half * multiplier).shape(), name=f"product_{number}", reset_less=True)
            for number, half in enumerate(halves)
        ]
        product: Value = products[0]
        if self._split:
            whole = product + (products[1] << LOW_BITS)
            product = whole[: len(total) + len(multiplier)].as_signed()
        product_shift = Signal.like(self.shift, reset_less=True)
        doubled = Signal(signed(len(self.o) + 1), reset_less=True)
        """The shifted product with one fraction bit, which decides the rounding."""
        beyond = Signal(reset_less=True)
        """It does not fit, but for its sign."""
        made = [multiply(m, half, multiplier, logic=self._logic) for half in halves]
        shifted = narrow_shift(m, product.shift_left(1), product_shift, len(doubled))
        with m.If(self.enable):
            m.d.sync += [
                *(register.eq(each) for register, each in zip(products, made, strict=True)),
                product_shift.eq(shift),
                Cat(doubled, beyond).eq(Cat(*shifted)),
            ]

        rounded = (doubled >> 1) + doubled[0]
        above = (doubled > 2 * self._high) | (beyond & (doubled >= 0))
        below = (doubled < 2 * self._low) | (beyond & (doubled < 0))
        with m.If(self.enable):
            m.d.sync += self.o.eq(Mux(above, self._high, Mux(below, self._low, rounded)))
        return m
