"""Credit counters between the queues."""

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import GIVE, GIVE_TOKEN
from spec.semaphores import SEMAPHORE_BITS, SEMAPHORE_COUNT, Queue

__all__ = ["Semaphores"]


class Semaphores(wiring.Component):
    """Counts credits: given by executors, taken by queue heads (masks) and executors (rows).

    Golden twin: the credit counts of `golden_model.machine`. A give is seen by takers one cycle
    later. Each semaphore has one producing and one consuming queue, which the dispatcher checks,
    so takers never compete.

    Members
    -------
    wait, available, take : per queue, the mask a queue head wants, whether all of it is there,
        and the cycle in which it takes it.
    take_token : per row-taking executor, a stream of semaphore indices; a transfer takes one.
    give, give_token : per executor, masks of credits, and single credits.
    nonzero : the semaphores that have a credit.
    overflow : a counter passed its maximum in the cycle before.
    """

    def __init__(self, *, takers: int, givers: int) -> None:
        super().__init__(
            {
                "wait": In(SEMAPHORE_COUNT).array(len(Queue)),
                "available": Out(1).array(len(Queue)),
                "take": In(1).array(len(Queue)),
                "take_token": In(stream.Signature(4)).array(takers),
                "give": In(GIVE).array(givers),
                "give_token": In(GIVE_TOKEN).array(givers),
                "nonzero": Out(SEMAPHORE_COUNT),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        counts = [Signal(SEMAPHORE_BITS, name=f"count_{i}") for i in range(SEMAPHORE_COUNT)]
        nonzero = self.nonzero
        for index, count in enumerate(counts):
            m.d.comb += nonzero[index].eq(count != 0)

        for wait, available in zip(self.wait, self.available, strict=True):
            m.d.comb += available.eq((wait & ~nonzero) == 0)
        for token in self.take_token:
            m.d.comb += token.ready.eq(Array(nonzero)[token.payload])

        overflows = Signal(SEMAPHORE_COUNT)
        for index, count in enumerate(counts):
            gives = [give.valid & give.mask[index] for give in self.give]
            gives += [give.valid & (give.index == index) for give in self.give_token]
            takes = [take & wait[index] for take, wait in zip(self.take, self.wait, strict=True)]
            takes += [
                token.valid & token.ready & (token.payload == index) for token in self.take_token
            ]
            following = Signal(SEMAPHORE_BITS + 2, name=f"following_{index}")
            m.d.comb += [
                following.eq(count + sum(gives) - sum(takes)),
                overflows[index].eq(following[SEMAPHORE_BITS:] != 0),
            ]
            m.d.sync += count.eq(following)
        m.d.sync += self.overflow.eq(overflows.any())
        return m
