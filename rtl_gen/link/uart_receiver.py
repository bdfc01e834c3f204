"""UART receiver, 8N1."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.link.interfaces import RECEIVED

__all__ = ["UartReceiver"]

_BITS = 8


class UartReceiver(wiring.Component):
    """Bytes from a line that is 1 when idle: a start bit 0, 8 bits low first, a stop bit 1.

    The line goes through two registers. Each bit is the majority of three samples about its middle,
    one cycle apart, so a pulse of one cycle changes nothing; a start bit that is gone at its middle
    was none. The sender's clock may be off by 4 % for `cycles_per_bit` from 16 on. After a byte
    without its stop bit (a break is one) nothing is received until the line is 1 again.
    Latency: a byte appears in the middle of its stop bit. There is no back-pressure.

    Members
    -------
    rx : the line
    o_valid, o : a byte (a pulse)
    active : the line is 0 or a byte is on its way
    """

    def __init__(self, *, cycles_per_bit: int) -> None:
        if cycles_per_bit < 4:
            raise ValueError(f"cycles_per_bit must be at least 4, not {cycles_per_bit}")
        self._cycles_per_bit = cycles_per_bit
        super().__init__(
            {
                "rx": In(1, init=1),
                "o_valid": Out(1),
                "o": Out(RECEIVED),
                "active": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        first = Signal(init=1)
        samples = Signal(3, init=0b111)
        m.d.sync += [first.eq(self.rx), samples.eq(Cat(first, samples))]
        line = samples[0]
        vote = Signal()
        m.d.comb += vote.eq(
            (samples[0] & samples[1]) | (samples[0] & samples[2]) | (samples[1] & samples[2])
        )

        timer = Signal(range(self._cycles_per_bit + 1))
        due = Signal()
        bits = Signal(_BITS)
        count = Signal(range(_BITS))
        m.d.comb += due.eq(timer == 0)
        m.d.sync += [timer.eq(timer - 1), self.o_valid.eq(0)]
        with m.FSM() as state:
            with m.State("IDLE"):
                # The vote lags behind the line by one cycle
                m.d.sync += [timer.eq(self._cycles_per_bit // 2), count.eq(0)]
                with m.If(~line):
                    m.next = "START"
            with m.State("START"), m.If(due):
                m.d.sync += timer.eq(self._cycles_per_bit - 1)
                m.next = "BITS"
                with m.If(vote):
                    m.next = "IDLE"
            with m.State("BITS"), m.If(due):
                m.d.sync += [
                    timer.eq(self._cycles_per_bit - 1),
                    bits.eq(Cat(bits[1:], vote)),
                    count.eq(count + 1),
                ]
                with m.If(count == _BITS - 1):
                    m.next = "STOP"
            with m.State("STOP"), m.If(due):
                m.d.sync += [self.o_valid.eq(1), self.o.byte.eq(bits), self.o.framing.eq(~vote)]
                m.next = "SILENCE"
                with m.If(vote):
                    m.next = "IDLE"
            with m.State("SILENCE"), m.If(line):
                m.next = "IDLE"
            m.d.comb += self.active.eq(~state.ongoing("IDLE") | ~line)
        return m
