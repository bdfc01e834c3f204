"""Reads the class logits, one after the other."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

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
        """Words are asked for when the last logits of the one before are given."""
        m = Module()
        bits, per_word = LOGIT.bits, self.lanes * 8 // LOGIT.bits
        request = self.read.request
        address = Signal(ADDRESS_BITS)
        words = Signal(range((1 << len(self.classes)) // per_word + 1))
        """Not asked for yet."""
        left = Signal.like(self.classes)
        held = Signal(self.lanes * 8, reset_less=True)
        count = Signal(range(per_word + 1))
        """Logits in `held`."""
        m.d.comb += [
            request.valid.eq((words != 0) & (count <= 2) & ~self.read.valid),
            request.payload.eq(address),
            self.valid.eq((count != 0) & (left != 0)),
            self.logit.eq(held[:bits]),
            self.last.eq(left == 1),
        ]
        with m.If(self.start):
            m.d.sync += [
                address.eq(self.token),
                words.eq((self.classes + (per_word - 1)) >> exact_log2(per_word)),
                left.eq(self.classes),
                count.eq(0),
            ]
        with m.Else():
            with m.If(request.valid & request.ready):
                m.d.sync += [address.eq(address + 1), words.eq(words - 1)]
            with m.If(self.read.valid):
                m.d.sync += [held.eq(self.read.data), count.eq(per_word)]
            with m.Elif(self.valid):
                m.d.sync += [held.eq(held >> bits), count.eq(count - 1)]
            with m.If(self.valid):
                m.d.sync += left.eq(left - 1)
        return m
