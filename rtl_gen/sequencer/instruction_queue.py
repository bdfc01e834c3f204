"""A bounded instruction queue whose head waits for its credits."""

from amaranth.hdl import Module
from amaranth.lib import fifo, stream, wiring
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
        m.submodules.words = words = fifo.SyncFIFOBuffered(width=ISSUED.size, depth=self._depth)
        head = View(ISSUED, words.r_data)
        header = View(HEADER, head.word[: HEADER.size])
        m.d.comb += [
            words.w_data.eq(self.dispatched.payload),
            words.w_en.eq(self.dispatched.valid),
            self.dispatched.ready.eq(words.w_rdy),
            self.wait.eq(header.wait & words.r_rdy.replicate(SEMAPHORE_COUNT)),
            self.issued.payload.eq(head),
            self.issued.valid.eq(words.r_rdy & self.available),
            self.take.eq(self.issued.valid & self.issued.ready),
            words.r_en.eq(self.take),
            self.empty.eq(words.level == 0),
            self.head.eq(words.r_rdy),
        ]
        return m
