"""The search for scalars that are not zero: only their rows are read."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ADDRESS_BITS, step_layout, walk_layout
from rtl_gen.sequencer.operand_reader import operand_layout
from spec.formats import ACT, SCALAR

__all__ = ["SEARCH_WORDS", "NonzeroSource"]

SEARCH_WORDS = 6
"""Operand words in view."""


def _any(values: list[Value]) -> Value:
    """Whether one of them is set; none is if there are none."""
    return Cat(values).any() if values else Const(0, 1)


class NonzeroSource(wiring.Component):
    """Steps over the rows of `search` walks whose scalar is not the zero point.

    Every bank takes its first such scalar among the operand words in view, all banks in one step,
    never beyond the end of the walk; a word leaves when no bank has one left in it. A walk
    without any takes one step without banks, so that its sums are finished like any others.
    Walks in work at a time must agree in all their fields (one instruction's do).

    Latency: three cycles from a word to its first step, if another scalar or the walk's end is
    known then: only so the last step can say that it is the last one. Throughput: one step a
    cycle, and no bubble between walks, as long as words are there; a word comes in a cycle after
    one has left. Back-pressure: a step stays put until it is taken.

    banks, lanes : powers of two; a word's lane l belongs to bank l mod banks
    words : operand words in view

    Members
    -------
    walk : with `search`; taken with the first word of its row
    words : as many as a walk's `count` fills; scalars beyond it do not count
    step : sparse steps, registered
    passing : there is no step, because the words passed held no scalar to take
    busy : something is in work
    """

    def __init__(self, *, banks: int, lanes: int, words: int = SEARCH_WORDS) -> None:
        if words < 2:
            raise ValueError(f"at least two words must be in view, not {words}")
        self.banks = banks
        self.lanes = lanes
        self.view_words = words
        super().__init__(
            {
                "walk": In(stream.Signature(walk_layout(sparse=True))),
                "words": In(stream.Signature(operand_layout(lanes))),
                "step": Out(stream.Signature(step_layout(banks, sparse=True))),
                "passing": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit: words come in, are searched, and scalars go out in two stages."""
        m = Module()
        slots = range(self.view_words)
        slot_layout = data.StructLayout(
            {"data": self.lanes * ACT.bits, "pending": self.lanes, "at": 16, "last": 1}
        )
        self._slot = [Signal(slot_layout, name=f"slot_{n}", reset_less=True) for n in slots]
        self._valid = Signal(self.view_words)
        self._head = Signal(self.view_words, init=1)
        """The oldest word's slot, one bit; slots follow each other in a ring."""
        self._fresh = Signal(init=1)
        """The next word is a walk's first one."""
        self._base, self._zero_point = Signal(ADDRESS_BITS), Signal(signed(ACT.bits))
        self._enter(m)

        # The words of the oldest walk, and each bank's first scalar in them.
        slices = self.lanes // self.banks
        view, empty, leaves = (Signal(self.view_words, name=n) for n in ("view", "empty", "leaves"))
        found, rest = Signal(self.banks), Signal(self.banks)
        raw = data.StructLayout({"scalar": 16, "code": signed(ACT.bits)})
        picked = Signal(data.ArrayLayout(raw, self.banks))
        left = [Signal(self.banks, name=f"left_{n}") for n in slots]
        taken = [Signal(self.lanes, name=f"taken_{n}") for n in slots]
        for n in slots:
            ends = [self._before(k, n) & self._valid[k] & self._slot[k].last for k in slots]
            m.d.comb += view[n].eq(self._valid[n] & ~_any(ends))
        for bank in range(self.banks):
            has = Signal(self.view_words, name=f"has_{bank}")
            own = range(bank, self.lanes, self.banks)
            scalars, codes = [], []
            for n in slots:
                slot = self._slot[n]
                pending, lowest = slot.pending[bank :: self.banks], Signal(slices)
                chosen = Signal(name=f"chosen_{bank}_{n}")
                m.d.comb += [
                    has[n].eq(view[n] & pending.any()),
                    chosen.eq(has[n] & ~_any([self._before(k, n) & has[k] for k in slots])),
                    lowest.eq(pending & (~pending + 1)),
                    left[n][bank].eq(has[n] & ~(chosen & (pending == lowest))),
                ]
                scalars.append(Mux(chosen, slot.at, 0))
                for index, lane in enumerate(own):
                    m.d.comb += taken[n][lane].eq(chosen & lowest[index])
                    scalars.append(Mux(taken[n][lane], index, 0))
                    codes.append(Mux(taken[n][lane], slot.data.word_select(lane, ACT.bits), 0))
            m.d.comb += [
                found[bank].eq(has.any()),
                rest[bank].eq(_any([left[n][bank] for n in slots])),
                picked[bank].scalar.eq(reduce(or_, scalars)),
                picked[bank].code.eq(reduce(or_, codes)),
            ]

        # Each found step waits in `now` until it is known whether it is its walk's last one.
        now = Signal(
            data.StructLayout(
                {"picked": picked.shape(), "valid": self.banks, "first": 1, "last": 1}
            )
        )
        there, goes, select, free = Signal(), Signal(), Signal(), Signal()
        ended, something, opened, drop = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            ended.eq(_any([view[n] & self._slot[n].last for n in slots])),
            something.eq(found.any()),
            opened.eq(there & ~now.last),
            free.eq(~self.step.valid | self.step.ready),
            goes.eq(there & free & (now.last | something | ended)),
            select.eq((something | (ended & ~opened)) & (~there | goes)),
            drop.eq(select | ~something & (~ended | opened & goes)),
            self.busy.eq(self.step.valid | there | self._valid.any() | ~self._fresh),
        ]
        with m.If(select):
            m.d.sync += [
                there.eq(1),
                now.picked.eq(picked),
                now.valid.eq(found),
                now.first.eq(~opened),
                now.last.eq(ended & ~rest.any()),
            ]
        with m.Elif(goes):
            m.d.sync += there.eq(0)
        for n in slots:
            m.d.comb += [
                empty[n].eq(view[n] & ~left[n].any()),
                leaves[n].eq(empty[n] & ~_any([self._before(k, n) & ~empty[k] for k in slots])),
            ]
            with m.If(select & view[n]):
                m.d.sync += self._slot[n].pending.eq(self._slot[n].pending & ~taken[n])
            with m.If(drop & leaves[n]):
                m.d.sync += self._valid[n].eq(0)
            with m.If(drop & ~leaves.all()):
                stays = _any([self._before(k, n) & ~leaves[k] for k in slots])
                m.d.sync += self._head[n].eq(~leaves[n] & ~stays)

        # The step itself.
        out = self.step.p
        m.d.comb += [out.sparse.eq(1), out.group_first.eq(1), out.group_last.eq(1)]
        with m.If(free):
            m.d.sync += self.step.valid.eq(goes)
        with m.If(goes):
            m.d.sync += [
                out.valid.eq(now.valid),
                out.first.eq(now.first),
                out.last.eq(now.last | ~something),
            ]
            for bank in range(self.banks):
                source = now.picked[bank]
                code = Signal(signed(SCALAR.bits), name=f"difference_{bank}")
                m.d.comb += code.eq(source.code - self._zero_point)
                m.d.sync += [
                    out.address[bank].eq(self._base + source.scalar),
                    out.code[bank].eq(code),
                ]

        # Cycles in which words passed but no scalar was found, on their way to the step.
        poor, poor_now, poor_step = Signal(), Signal(), Signal()
        m.d.comb += [
            poor.eq(view.any() & ~something & ~(ended & ~opened)),
            self.passing.eq(poor_step & ~self.step.valid),
        ]
        with m.If(~there | goes):
            m.d.sync += poor_now.eq(poor)
        with m.If(free):
            m.d.sync += poor_step.eq(~goes & Mux(there, poor, poor_now))
        return m

    def _before(self, one: int, other: int) -> Value:
        """Whether the word in slot `one` is older than that in slot `other`."""
        if one == other:
            return Const(0, 1)
        count = self.view_words
        heads = range(count)
        return _any([self._head[h] for h in heads if (one - h) % count < (other - h) % count])

    def _enter(self, m: Module) -> None:
        """Put the next word into the slot behind the last one, and mark the scalars to take."""
        walk, words = self.walk, self.words
        count = self.view_words
        tail = Signal(count, init=1)
        fresh, enters, room = self._fresh, Signal(), Signal()
        following, left, at = Signal(16), Signal(16), Signal(16)
        next_at = Signal(16)
        zero_point = Signal(signed(ACT.bits))
        pending = Signal(self.lanes)
        m.d.comb += [
            room.eq((tail & ~self._valid).any()),
            words.ready.eq(room & (~fresh | walk.valid)),
            walk.ready.eq(room & fresh & words.valid),
            enters.eq(words.valid & words.ready),
            left.eq(Mux(fresh, walk.p.count, following)),
            at.eq(Mux(fresh, 0, next_at)),
            zero_point.eq(Mux(fresh, walk.p.zero_point, self._zero_point)),
        ]
        for lane in range(self.lanes):
            code = words.p.data.word_select(lane, ACT.bits).as_signed()
            m.d.comb += pending[lane].eq((code != zero_point) & (left > lane))
        with m.If(enters):
            m.d.sync += [
                tail.eq(tail.rotate_left(1)),
                fresh.eq(words.p.last),
                following.eq(left - self.lanes),
                next_at.eq(at + self.lanes // self.banks),
                self._valid.eq(self._valid | tail),
            ]
            with m.If(fresh):
                m.d.sync += [
                    self._base.eq(walk.p.base + walk.p.offset),
                    self._zero_point.eq(walk.p.zero_point),
                ]
        for n in range(count):
            with m.If(enters & tail[n]):
                m.d.sync += [
                    self._slot[n].data.eq(words.p.data),
                    self._slot[n].pending.eq(pending),
                    self._slot[n].at.eq(at),
                    self._slot[n].last.eq(words.p.last),
                ]
