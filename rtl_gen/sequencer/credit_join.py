"""Credits of several head groups: one is given when the last group has given it."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["CreditJoin"]


class CreditJoin(wiring.Component):
    """Counts what each group is ahead of the slowest; all give the same credits in order.

    Latency: none. `ahead` events of one group can wait for the others.

    Members
    -------
    groups : those that give; may change only when all that was begun has been given
    i : one a group, with a field `valid`
    o : as the last group's that gives it
    """

    def __init__(self, *, shape: data.StructLayout, head_groups: int, ahead: int = 63) -> None:
        self._ahead = ahead
        super().__init__(
            {
                "groups": In(head_groups),
                "i": In(shape).array(head_groups),
                "o": Out(shape),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        complete = Signal()
        given = []
        for number, event in enumerate(self.i):
            waiting = Signal(range(self._ahead + 1), name=f"waiting_{number}")
            gives = self.groups[number]
            m.d.sync += waiting.eq(waiting + event.valid - (complete & gives))
            given.append(~gives | event.valid | (waiting != 0))
            with m.If(event.valid & (waiting == 0)):
                m.d.comb += self.o.eq(event)
        m.d.comb += [
            complete.eq(Cat(given).all() & self.groups.any()),
            self.o.valid.eq(complete),
        ]
        return m
