"""Cuts transfers into bursts."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from rtl_gen.dma.axi import BURST_BEATS, TRANSFER

__all__ = ["BURST", "BurstSplitter"]

BURST = data.StructLayout({"address": 32, "beats": range(BURST_BEATS + 1), "last": 1})
"""`beats` (1..BURST_BEATS) from `address` on; `last` ends the transfer."""


class BurstSplitter(wiring.Component):
    """Bursts of at most BURST_BEATS beats that end at multiples of BURST_BEATS beats.

    Such bursts never cross 4 KiB, and the length is a subtraction of the few low address bits.
    Latency: 1 cycle. Throughput: one burst a cycle, also across transfers.

    Members
    -------
    i : stream of TRANSFER
    o : stream of BURST; its `valid` falls with `clear`
    clear : forget the current transfer, take none
    """

    def __init__(self, *, bus_bits: int) -> None:
        self._low_bits = ceil_log2(bus_bits // 8)
        super().__init__(
            {
                "i": In(stream.Signature(TRANSFER)),
                "o": Out(stream.Signature(BURST)),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        index_bits = ceil_log2(BURST_BEATS)
        page_from = self._low_bits + index_bits
        valid = Signal()
        current = Signal(TRANSFER)
        index = current.address[self._low_bits : page_from]
        space = Signal(range(BURST_BEATS + 1))
        fits = Signal()
        page = Signal(32 - page_from)
        m.d.comb += [
            space.eq(BURST_BEATS - index),
            fits.eq(current.beats <= space),
            page.eq(current.address[page_from:] + 1),
            self.o.valid.eq(valid & ~self.clear),
            self.o.p.address.eq(current.address),
            self.o.p.beats.eq(Mux(fits, current.beats[: len(space)], space)),
            self.o.p.last.eq(fits),
            self.i.ready.eq((~valid | (self.o.ready & fits)) & ~self.clear),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                current.address.eq(Cat(Const(0, page_from), page)),
                current.beats.eq(current.beats - space),
                valid.eq(~fits),
            ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [current.eq(self.i.payload), valid.eq(1)]
        with m.If(self.clear):
            m.d.sync += valid.eq(0)
        return m
