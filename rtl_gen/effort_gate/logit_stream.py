"""Reads the class logits, one after the other."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ADDRESS_BITS, token_read_port
from spec.formats import LOGIT
from spec.isa import GATE

__all__ = ["LogitStream"]


class LogitStream(wiring.Component):
    """`classes` int16 logits from token word `token` on, without gaps.

    Latency: the first one comes `LATENCY` cycles after `start`. Throughput: one a cycle, while the
    port grants. No back-pressure.

    Members
    -------
    start : begin, also with what the last one is given in; the fields stay as they are until then
    token, classes : of the instruction
    read : token-memory read port
    valid, logit, last : LOGIT
    """

    LATENCY = 3

    def __init__(self, *, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(
            {
                "start": In(1),
                "token": In(GATE["token"].width),
                "classes": In(GATE["classes"].width),
                "read": Out(token_read_port(lanes)),
                "valid": Out(1),
                "logit": Out(signed(LOGIT.bits)),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A word is read anew for each of its logits: memory is free, a register is not."""
        m = Module()
        bits, per_word = LOGIT.bits, self.lanes * 8 // LOGIT.bits
        request = self.read.request
        address = Signal(ADDRESS_BITS)
        place = Signal(range(per_word))
        """Of the logit to ask for, in its word."""
        left = Signal.like(self.classes)
        """Not asked for yet."""
        asked = Signal.like(place, reset_less=True)
        final = Signal()
        m.d.comb += [request.valid.eq(left != 0), request.payload.eq(address)]
        m.d.sync += [
            self.valid.eq(self.read.valid),
            self.logit.eq(self.read.data.word_select(asked, bits)),
            self.last.eq(self.read.valid & final),
        ]
        with m.If(self.start):
            m.d.sync += [address.eq(self.token), place.eq(0), left.eq(self.classes)]
        with m.Elif(request.valid & request.ready):
            m.d.sync += [
                place.eq(place + 1),
                left.eq(left - 1),
                asked.eq(place),
                final.eq(left == 1),
            ]
            with m.If(place == per_word - 1):
                m.d.sync += address.eq(address + 1)
        return m
