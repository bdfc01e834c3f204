"""UART sender, 8N1."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["UartSender"]

_FRAME_BITS = 1 + 8 + 1


class UartSender(wiring.Component):
    """Bytes to a line that is 1 when idle: a start bit 0, 8 bits low first, a stop bit 1.

    Latency: the start bit begins 1 cycle after the byte is taken. Throughput: 10 bits a byte; a
    byte that waits follows the stop bit of the one before at once.

    Members
    -------
    i : stream of bytes
    tx : the line, from a register
    active : a byte is on its way
    """

    def __init__(self, *, cycles_per_bit: int) -> None:
        if cycles_per_bit < 2:
            raise ValueError(f"cycles_per_bit must be at least 2, not {cycles_per_bit}")
        self._cycles_per_bit = cycles_per_bit
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1), "active": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        timer = Signal(range(self._cycles_per_bit))
        bits = Signal(_FRAME_BITS - 1)
        """What follows the bit on the line."""
        count = Signal(range(_FRAME_BITS + 1))
        """Bits that are not over, with the one on the line."""
        last = Signal()
        ends = timer == self._cycles_per_bit - 1
        m.d.comb += [
            self.active.eq(count != 0),
            last.eq(ends & (count == 1)),
            self.i.ready.eq(~self.active | last),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                self.tx.eq(0),
                bits.eq(Cat(self.i.payload, Const(1, 1))),
                count.eq(_FRAME_BITS),
                timer.eq(0),
            ]
        with m.Elif(self.active):
            m.d.sync += timer.eq(Mux(ends, 0, timer + 1))
            with m.If(ends):
                m.d.sync += [
                    self.tx.eq(bits[0]),
                    bits.eq(Cat(bits[1:], Const(1, 1))),
                    count.eq(count - 1),
                ]
        return m
