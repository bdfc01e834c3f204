"""Credit counters between the queues."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import GIVE, GIVE_TOKEN
from spec.semaphores import (
    CONSUMER_OF,
    PRODUCER_OF,
    SEMAPHORE_BITS,
    SEMAPHORE_COUNT,
    Queue,
    Semaphore,
)

__all__ = ["Semaphores"]


class Semaphores(wiring.Component):
    """Counts credits: given by executors, taken by queue heads (masks) and executors (rows).

    Golden twin: the credit counts of `golden_model.machine`. A give is seen by takers one cycle
    later. Each semaphore has one producing and one consuming queue, which the dispatcher checks,
    so takers never compete: of one semaphore, they take one credit in a cycle.

    Members
    -------
    wait, available, take : per queue, the mask a queue head wants, whether all of it is there,
        and the cycle in which it takes it.
    take_token : per row-taking executor, a stream of semaphore indices; a transfer takes one.
    give, give_token : per executor, masks of credits, and single credits.
    nonzero : the semaphores that have a credit, in registers.
    overflow : a counter passed its maximum in the cycle before.
    """

    def __init__(
        self, *, takers: int, givers: int, givers_of: Mapping[Queue, Sequence[int]] | None = None
    ) -> None:
        """Take the numbers of executors that take rows' credits and that give any.

        givers_of : numbers of the givers of each queue; None: any may give to any semaphore
        """
        self._givers_of = givers_of
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

        for queue in Queue:
            own = [semaphore.value for semaphore in Semaphore if CONSUMER_OF[semaphore] is queue]
            wait = self.wait[queue.value]
            lacking = Cat(wait[index] & ~nonzero[index] for index in own)
            m.d.comb += self.available[queue.value].eq(~lacking.any())
        for token in self.take_token:
            m.d.comb += token.ready.eq(Array(nonzero)[token.payload])

        overflows = Signal(SEMAPHORE_COUNT)
        for index, count in enumerate(counts):
            givers = self._givers(Semaphore(index))
            gives = [self.give[n].valid & self.give[n].mask[index] for n in givers]
            tokens = [self.give_token[n] for n in givers]
            gives += [give.valid & (give.index == index) for give in tokens]
            consumer = CONSUMER_OF[Semaphore(index)].value
            takes = [self.take[consumer] & self.wait[consumer][index]]
            takes += [
                token.valid & token.ready & (token.payload == index) for token in self.take_token
            ]
            taken = Signal(name=f"taken_{index}")
            given = Signal(SEMAPHORE_BITS + 2, name=f"given_{index}")
            following = Signal.like(given, name=f"following_{index}")
            low = given[:SEMAPHORE_BITS]
            m.d.comb += [
                taken.eq(Cat(takes).any()),
                given.eq(count + sum(gives)),
                following.eq(Mux(taken, given - 1, given)),
            ]
            m.d.sync += [
                count.eq(following),
                # both answers, since `taken` comes late in the cycle
                nonzero[index].eq(Mux(taken, low != 1, low != 0)),
                overflows[index].eq(following[SEMAPHORE_BITS:] != 0),
            ]
        m.d.comb += self.overflow.eq(overflows.any())
        return m

    def _givers(self, semaphore: Semaphore) -> Sequence[int]:
        """Numbers of the executors that give to it."""
        if self._givers_of is None:
            return range(len(self.give))
        return self._givers_of[PRODUCER_OF[semaphore]]
