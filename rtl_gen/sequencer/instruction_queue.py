"""A bounded instruction queue whose head waits for its credits."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ISSUED
from spec.isa import HEADER
from spec.semaphores import SEMAPHORE_COUNT

__all__ = ["InstructionQueue"]


class InstructionQueue(wiring.Component):
    """Holds up to `depth` instructions; the first leaves when all its `wait` credits are there.

    Latency: two cycles from an empty queue. An executor must raise `ready` only when it will take
    no more row credits for earlier instructions, so that credits are taken in program order.

    Members
    -------
    dispatched : stream of ISSUED from the dispatcher.
    issued : stream of ISSUED to the executor; the transfer takes the credits.
    wait, available, take : to `Semaphores`.
    empty : nothing is held.
    head : an instruction is at the head, with or without its credits.
    """

    def __init__(self, *, depth: int) -> None:
        self._depth = depth
        super().__init__(
            {
                "dispatched": In(stream.Signature(ISSUED)),
                "issued": Out(stream.Signature(ISSUED)),
                "wait": Out(SEMAPHORE_COUNT),
                "available": In(1),
                "take": Out(1),
                "empty": Out(1),
                "head": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        behind = self._depth - 1
        m.submodules.words = words = memory.Memory(shape=ISSUED, depth=behind, init=[])
        write, read = words.write_port(), words.read_port()
        level = Signal(range(behind + 1))
        """Instructions behind the head, which is in the registers of the read port."""
        enters, follows = Signal(), Signal()
        header = View(HEADER, read.data.word[: HEADER.size])
        m.d.comb += [
            self.dispatched.ready.eq(level != behind),
            enters.eq(self.dispatched.valid & self.dispatched.ready),
            # whether there is an instruction is known late, and what is none is written over
            write.en.eq(self.dispatched.ready),
            write.data.eq(self.dispatched.payload),
            follows.eq((level != 0) & (~self.head | self.take)),
            read.en.eq(follows),
            self.wait.eq(header.wait & self.head.replicate(SEMAPHORE_COUNT)),
            self.issued.payload.eq(read.data),
            self.issued.valid.eq(self.head & self.available),
            self.take.eq(self.issued.valid & self.issued.ready),
            self.empty.eq((level == 0) & ~self.head),
        ]
        for moves, port in ((enters, write), (follows, read)):
            with m.If(moves):
                m.d.sync += port.addr.eq(Mux(port.addr == behind - 1, 0, port.addr + 1))
        m.d.sync += level.eq(level + enters - follows)
        with m.If(follows):
            m.d.sync += self.head.eq(1)
        with m.Elif(self.take):
            m.d.sync += self.head.eq(0)
        return m
