"""The dense source: every row of a matrix, in order."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ADDRESS_BITS, WALK, step_layout

__all__ = ["DenseSource"]


def _mark_layout(banks: int) -> data.StructLayout:
    """Return the part of a step that the source keeps in registers as it is."""
    names = ("valid", "word", "first", "last", "group_first", "group_last")
    return data.StructLayout({name: step_layout(banks)[name].shape for name in names})


class DenseSource(wiring.Component):
    """Counts through the rows of a `WALK`: groups of `banks` rows, the inner words of each.

    Latency: the first step comes one cycle after the walk is taken. Throughput: one step a cycle;
    a walk is taken in the cycle in which its predecessor's last step goes, so that no cycle is
    lost between them. Back-pressure: a step stays put until it is taken.
    `count` and `words` are at least 1.

    Members
    -------
    walk : WALK, what to count through
    step : step_layout(banks), registered; all banks read the same address
    """

    def __init__(self, *, banks: int) -> None:
        if banks < 1 or banks & (banks - 1):
            raise ValueError(f"banks must be a power of two, not {banks}")
        self.banks = banks
        super().__init__(
            {
                "walk": In(stream.Signature(WALK)),
                "step": Out(stream.Signature(step_layout(banks))),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        walk, step = self.walk, self.step
        address = Signal(ADDRESS_BITS)
        group_address = Signal(ADDRESS_BITS)
        scalar = Signal(16)
        remaining = Signal(16)
        stride = Signal(WALK["stride"].shape)
        words = Signal(WALK["words"].shape)
        mark = Signal(_mark_layout(self.banks))

        def present(rows: Value) -> Value:
            """Return a bit a bank: one of the `rows` that are left is its own."""
            return Cat(rows > b for b in range(self.banks))

        m.d.comb += [
            *(step.p.address[b].eq(address) for b in range(self.banks)),
            *(step.p.scalar[b].eq(scalar) for b in range(self.banks)),
            *(step.p[name].eq(mark[name]) for name, _ in mark.shape()),
            walk.ready.eq(~step.valid | (step.ready & mark.last)),
        ]

        next_word = Signal.like(mark.word)
        next_group_address = Signal(ADDRESS_BITS)
        next_remaining = Signal(16)
        m.d.comb += [
            next_word.eq(mark.word + 1),
            next_group_address.eq(group_address + stride),
            next_remaining.eq(remaining - self.banks),
        ]
        with m.If(walk.ready):
            m.d.sync += step.valid.eq(walk.valid)
            with m.If(walk.valid):
                m.d.sync += [
                    address.eq(walk.p.base + walk.p.offset),
                    group_address.eq(walk.p.base + walk.p.offset),
                    scalar.eq(0),
                    remaining.eq(walk.p.count),
                    stride.eq(walk.p.stride),
                    words.eq(walk.p.words),
                    mark.valid.eq(present(walk.p.count)),
                    mark.word.eq(0),
                    mark.first.eq(1),
                    mark.last.eq((walk.p.words == 1) & (walk.p.count <= self.banks)),
                    mark.group_first.eq(1),
                    mark.group_last.eq(walk.p.words == 1),
                ]
        with m.Elif(step.ready):
            m.d.sync += mark.first.eq(0)
            with m.If(mark.group_last):
                m.d.sync += [
                    address.eq(next_group_address),
                    group_address.eq(next_group_address),
                    scalar.eq(scalar + 1),
                    remaining.eq(next_remaining),
                    mark.valid.eq(present(next_remaining)),
                    mark.word.eq(0),
                    mark.group_first.eq(1),
                    mark.group_last.eq(words == 1),
                    mark.last.eq((words == 1) & (next_remaining <= self.banks)),
                ]
            with m.Else():
                m.d.sync += [
                    address.eq(address + 1),
                    mark.word.eq(next_word),
                    mark.group_first.eq(0),
                    mark.group_last.eq(next_word + 1 == words),
                    mark.last.eq((next_word + 1 == words) & (remaining <= self.banks)),
                ]
        return m
