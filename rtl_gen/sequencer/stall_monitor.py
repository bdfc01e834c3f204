"""Says, for every cycle of a run, why the array took no step."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spec.registers import STALLS
from spec.semaphores import CONSUMER_OF, PRODUCER_OF, SEMAPHORE_COUNT, Queue

__all__ = ["ARRAY_STATE", "StallMonitor"]

ARRAY_STATE = data.StructLayout(
    {
        "fired": 1,
        "blocked_scores": 1,
        "blocked_accumulators": 1,
        "active": 1,
        "wait_epilogue": 1,
        "wait_softmax": 1,
        "wait_token": 1,
        "wait_token_index": 4,
        "wait_port": 1,
        "wait_operand": 1,
        "wait_rows": 1,
        "passing": 1,
        "wait_credits": SEMAPHORE_COUNT,
        "queue_empty": 1,
        "queue_ready": 1,
        "queue_head": 1,
        "halted": 1,
    }
)
"""What the array controller and its queue see in a cycle.

active: an instruction is being walked; wait_epilogue, wait_softmax: it could not start because
that unit takes no command; wait_token: a row's credit is missing (of semaphore wait_token_index);
wait_port: the operand read lost the port; wait_operand: it is on its way; wait_rows: attention has
no pass to run until softmax moves; passing: a search passed words in which it found nothing;
wait_credits: semaphores the queue's head still lacks;
queue_head: an instruction is at the queue's head; queue_ready: and has its credits.
"""


def _produced_by(*queues: Queue) -> int:
    """Mask of the semaphores that `queues` give to the array."""
    return sum(
        1 << semaphore.value
        for semaphore, producer in PRODUCER_OF.items()
        if producer in queues and CONSUMER_OF[semaphore] is Queue.ARRAY
    )


class StallMonitor(wiring.Component):
    """One-hot stall cause; each has its own condition, the earliest in the chain wins.

    Members
    -------
    running : a program runs.
    state : see ARRAY_STATE.
    stalls : one bit for each of `spec.registers.STALLS`, in that order.
    """

    running: In(1)
    state: In(ARRAY_STATE)
    stalls: Out(len(STALLS))

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        state = self.state
        load = _produced_by(Queue.LOAD)
        vector = _produced_by(Queue.VECTOR)
        token = (1 << state.wait_token_index)[:SEMAPHORE_COUNT]
        lacking = state.wait_credits
        waiting_row = state.active & state.wait_token

        # one signal a cause: a constant bit among driven ones is an `always @*` without
        # sensitivities in the emitted Verilog, which Icarus never runs
        causes = {name: Signal(name=f"stall_{name}") for name in STALLS}
        m.d.comb += self.stalls.eq(Cat(*causes.values()))

        def cause(name: str) -> Signal:
            return causes[name]

        with m.If(~self.running | state.fired):
            pass
        with m.Elif(state.blocked_scores):
            m.d.comb += cause("softmax").eq(1)
        with m.Elif(state.blocked_accumulators | state.wait_epilogue):
            m.d.comb += cause("vector").eq(1)
        with m.Elif(state.wait_softmax):
            m.d.comb += cause("softmax").eq(1)
        with m.Elif(state.active & state.passing):
            m.d.comb += cause("bank_imbalance").eq(1)
        with m.Elif((waiting_row & ((token & load) != 0)) | ((lacking & load) != 0)):
            m.d.comb += cause("load").eq(1)
        with m.Elif((waiting_row & ((token & vector) != 0)) | ((lacking & vector) != 0)):
            m.d.comb += cause("vector").eq(1)
        with m.Elif(waiting_row | (lacking != 0)):
            m.d.comb += cause("dependency").eq(1)
        with m.Elif(state.active & state.wait_port):
            m.d.comb += cause("port_conflict").eq(1)
        with m.Elif(state.active & state.wait_rows):
            m.d.comb += cause("softmax").eq(1)
        with m.Elif((state.active & state.wait_operand) | state.queue_ready):
            m.d.comb += cause("issue").eq(1)
        with m.Elif(state.queue_empty & state.halted):
            m.d.comb += cause("drain").eq(1)
        with m.Elif(~state.queue_head):
            m.d.comb += cause("fetch").eq(1)
        with m.Else():
            m.d.comb += cause("unattributed").eq(1)
        return m
