"""The stationary query vectors of several head groups, each with a buffer of its own."""

from amaranth.hdl import Array, Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.sequencer.operand_reader import operand_layout
from rtl_gen.sequencer.query_buffer import QueryBuffer
from spec.isa import ATTENTION

__all__ = ["QueryBuffers"]


class QueryBuffers(wiring.Component):
    """Deals the words of a query row to the groups' buffers, `head_words` to each in turn.

    Members
    -------
    words : stream of operand words; a row of all groups' queries ends with `last`.
    head_words, further_groups : of the instruction.
    accept, head_dim, first_lane, word, schedule, done : as in `QueryBuffer`, for all groups.
    loaded : the next row of every group is complete.
    vector : the lanes of group g from g * lanes on.
    """

    def __init__(self, *, lanes: int, max_head_words: int, head_groups: int) -> None:
        self._lanes = lanes
        self._words = max_head_words
        self._head_groups = head_groups
        super().__init__(
            {
                "words": In(stream.Signature(operand_layout(lanes))),
                "accept": In(1),
                "head_words": In(ATTENTION["head_words"].shape),
                "further_groups": In(ATTENTION["further_groups"].shape),
                "head_dim": In(8),
                "first_lane": In(8),
                "loaded": Out(1),
                "schedule": In(1),
                "done": In(1),
                "word": In(4),
                "vector": Out(data.ArrayLayout(8, head_groups * lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        buffers = [
            QueryBuffer(lanes=self._lanes, max_head_words=self._words)
            for _ in range(self._head_groups)
        ]
        group, index = Signal(range(self._head_groups)), Signal.like(self.head_words)
        last_of_group = index == self.head_words - 1
        with m.If(self.words.valid & self.words.ready):
            m.d.sync += index.eq(index + 1)
            with m.If(last_of_group):
                m.d.sync += [index.eq(0), group.eq(group + 1)]
            with m.If(self.words.p.last):
                m.d.sync += [index.eq(0), group.eq(0)]
        m.d.comb += [
            self.words.ready.eq(Array(buffer.words.ready for buffer in buffers)[group]),
            self.vector.eq(Cat(buffer.vector for buffer in buffers)),
        ]
        loaded = []
        for number, buffer in enumerate(buffers):
            m.submodules[f"group_{number}"] = buffer
            used = self.further_groups >= number if number else Const(1, 1)
            loaded.append(buffer.loaded | ~used)
            m.d.comb += [
                buffer.words.valid.eq(self.words.valid & (group == number)),
                buffer.words.p.data.eq(self.words.p.data),
                buffer.words.p.last.eq(last_of_group),
                buffer.schedule.eq(self.schedule & used),
                buffer.done.eq(self.done & used),
            ]
            for name in ("accept", "head_dim", "first_lane", "word"):
                m.d.comb += getattr(buffer, name).eq(getattr(self, name))
        m.d.comb += self.loaded.eq(Cat(loaded).all())
        return m
