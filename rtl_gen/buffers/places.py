"""Which places of row memory hold a key."""

from amaranth.hdl import Array, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from rtl_gen.interfaces import placed_layout, present_port
from spec.masks import GROUP_BITS

__all__ = ["Places"]


class Places(wiring.Component):
    """A bit a place: set when a row is written there, all cleared by `forget`.

    Golden twin: `Memories.present`. Latency: none; a row that is written is present in the cycle
    after, and a row that is written with `forget` is not.

    Members
    -------
    forget : no place is present any more
    placed : a row is written to its place
    lookup : is there a key in this group of each bank?
    """

    def __init__(self, *, banks: int) -> None:
        self.banks = banks
        super().__init__(
            {
                "forget": In(1),
                "placed": In(placed_layout(banks)),
                "lookup": In(present_port(banks)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Registers, and a choice of one bit a bank."""
        m = Module()
        placed, groups = self.placed, 1 << GROUP_BITS
        one_hot = Signal(groups)
        m.d.comb += one_hot.eq(Mux(placed.valid, (Const(1, groups) << placed.group)[:groups], 0))
        for bank in range(self.banks):
            present = Signal(groups, name=f"present_{bank}")
            with m.If(placed.all_banks | (placed.bank == bank)):
                m.d.sync += present.eq(present | one_hot)
            with m.If(self.forget):
                m.d.sync += present.eq(0)
            m.d.comb += self.lookup.present[bank].eq(Array(present)[self.lookup.group[bank]])
        return m
