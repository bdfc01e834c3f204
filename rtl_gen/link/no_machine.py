"""What stands in the machine's place on a board that has the link alone."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from rtl_gen.dma.axi import axi4_lite

__all__ = ["NoMachine"]


class NoMachine(wiring.Component):
    """An AXI4-Lite slave without registers: every read gives 0, writes do nothing.

    Each access is answered OKAY in the next cycle, one read and one write at a time.
    """

    def __init__(self, address_bits: int = 12) -> None:
        super().__init__({"bus": In(axi4_lite(address_bits))})

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        bus = self.bus
        m.d.comb += [
            bus.arready.eq(~bus.rvalid),
            bus.awready.eq(bus.wvalid & ~bus.bvalid),
            bus.wready.eq(bus.awvalid & ~bus.bvalid),
        ]
        with m.If(bus.rvalid):
            m.d.sync += bus.rvalid.eq(~bus.rready)
        with m.Else():
            m.d.sync += bus.rvalid.eq(bus.arvalid)
        with m.If(bus.bvalid):
            m.d.sync += bus.bvalid.eq(~bus.bready)
        with m.Else():
            m.d.sync += bus.bvalid.eq(bus.awvalid & bus.wvalid)
        return m
