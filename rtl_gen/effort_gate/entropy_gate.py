"""The difficulty gate: whether the entropy of class logits is small enough."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.effort_gate.certainty import Certainty
from rtl_gen.effort_gate.entropy_sums import EntropySums
from rtl_gen.effort_gate.logit_stream import LogitStream
from rtl_gen.interfaces import token_read_port
from spec.formats import LOGIT
from spec.isa import GATE

__all__ = ["EntropyGate"]


class EntropyGate(wiring.Component):
    """Reads the logits of a GATE twice, for their maximum and for the sums of their entropy.

    Golden twin: `golden_model.units.entropy_gate.is_certain`. `cycles` says how long it takes.

    Members
    -------
    start : begin
    fields : of the instruction; they stay as they are until `done`
    read : token-memory read port
    done, certain : the answer, in one cycle
    busy : from the cycle after `start` up to `done`
    """

    def __init__(self, *, lanes: int, logic_multipliers: bool = False) -> None:
        self.lanes, self.logic_multipliers = lanes, logic_multipliers
        super().__init__(
            {
                "start": In(1),
                "fields": In(GATE),
                "read": Out(token_read_port(lanes)),
                "done": Out(1),
                "certain": Out(1),
                "busy": Out(1),
            }
        )

    @staticmethod
    def cycles(classes: int) -> int:
        """Cycles from `start` to `done` when memory is free."""
        passes = 2 * (LogitStream.LATENCY + classes - 1)
        return passes + EntropySums.LATENCY + Certainty.LATENCY

    def elaborate(self, platform: object) -> Module:
        """Two passes, then the comparison."""
        m = Module()
        m.submodules.stream = stream = LogitStream(lanes=self.lanes)
        m.submodules.sums = sums = EntropySums(logic_multipliers=self.logic_multipliers)
        m.submodules.certainty = certainty = Certainty()
        fields = self.fields
        connect(m, stream.read, flipped(self.read))

        maximum = Signal(signed(LOGIT.bits))
        second, turned = Signal(), Signal()
        """The second pass; the first one ends."""
        m.d.comb += [
            turned.eq(stream.last & ~second),
            stream.start.eq(self.start | turned),
            stream.token.eq(fields.token),
            stream.classes.eq(fields.classes),
        ]
        with m.If(self.start):
            m.d.sync += [maximum.eq(-1 << LOGIT.bits - 1), second.eq(0), self.busy.eq(1)]
        with m.Elif(stream.valid & ~second):
            with m.If(stream.logit > maximum):
                m.d.sync += maximum.eq(stream.logit)
            with m.If(turned):
                m.d.sync += second.eq(1)
        with m.If(self.done):
            m.d.sync += self.busy.eq(0)

        ended = Signal(EntropySums.LATENCY)
        m.d.sync += ended.eq(ended << 1 | (stream.last & second))
        m.d.comb += [
            sums.clear.eq(self.start),
            sums.multiplier.eq(fields.multiplier),
            sums.shift.eq(fields.shift),
            sums.valid.eq(stream.valid & second),
            sums.maximum.eq(maximum),
            sums.logit.eq(stream.logit),
            certainty.start.eq(ended[-1]),
            certainty.total.eq(sums.total),
            certainty.weighted.eq(sums.weighted),
            certainty.threshold.eq(fields.threshold),
            self.done.eq(certainty.done),
            self.certain.eq(certainty.certain),
        ]
        return m
