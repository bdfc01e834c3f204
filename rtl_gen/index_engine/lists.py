"""The list source: the keys that a pair of queries keeps, a step of the list at a time."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.attention_interfaces import entries_layout
from rtl_gen.interfaces import ADDRESS_BITS, WALK, step_layout

__all__ = ["ListSource"]


class ListSource(wiring.Component):
    """Turns steps of lists into array steps: each bank reads the key its entry names.

    Bank word of an entry, inner word w: base + group * stride + w, for w in 0..words - 1, all of
    a step before the next one; `count` steps of a list. Latency: two cycles from the walk to its
    first step, none between walks that wait. Throughput: one step a cycle. Back-pressure: a step
    stays put until it is taken.

    Members
    -------
    walk : WALK, of a pair of queries
    entries : the steps of the pairs' lists, in order
    step : registered; `scalar` means nothing
    """

    def __init__(self, *, banks: int, max_head_words: int) -> None:
        self.banks, self.max_head_words = banks, max_head_words
        super().__init__(
            {
                "walk": In(stream.Signature(WALK)),
                "entries": In(stream.Signature(entries_layout(banks))),
                "step": Out(stream.Signature(step_layout(banks, True, True))),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        walk, entries, step = self.walk, self.entries, self.step
        active, begins = Signal(), Signal()
        pair = Signal(WALK)
        left = Signal(WALK["count"].shape)
        load, ends = Signal(), Signal()
        m.d.comb += [
            load.eq(active & entries.valid & (~step.valid | (step.ready & step.p.group_last))),
            ends.eq(left == 1),
            entries.ready.eq(load),
            walk.ready.eq(~active | (load & ends)),
        ]
        with m.If(walk.ready):
            m.d.sync += [
                active.eq(walk.valid),
                pair.eq(walk.p),
                left.eq(walk.p.count),
                begins.eq(1),
            ]
        with m.Elif(load):
            m.d.sync += [left.eq(left - 1), begins.eq(0)]

        # stride and words are at most `max_head_words`
        words_bits = self.max_head_words.bit_length()
        stride, words = pair.stride[:words_bits], pair.words[:words_bits]
        last_entry, words_in_hand = Signal(), Signal.like(words)
        next_word = Signal.like(step.p.word)
        m.d.comb += next_word.eq(step.p.word + 1)
        with m.If(load):
            m.d.sync += [
                step.valid.eq(1),
                step.p.valid.eq(entries.p.valid),
                step.p.tag.eq(entries.p.tag),
                step.p.word.eq(0),
                step.p.first.eq(begins),
                step.p.last.eq(ends & (words == 1)),
                step.p.group_first.eq(1),
                step.p.group_last.eq(words == 1),
                last_entry.eq(ends),
                *(
                    address.eq((pair.base + group * stride)[:ADDRESS_BITS])
                    for address, group in zip(step.p.address, entries.p.tag.group, strict=True)
                ),
            ]
            if self.max_head_words > 1:
                m.d.sync += words_in_hand.eq(words)
        with m.Elif(step.ready):
            m.d.sync += step.valid.eq(step.valid & ~step.p.group_last)
            if self.max_head_words > 1:
                last_word = next_word + 1 == words_in_hand
                m.d.sync += [
                    *(address.eq(address + 1) for address in step.p.address),
                    step.p.word.eq(next_word),
                    step.p.first.eq(0),
                    step.p.group_first.eq(0),
                    step.p.group_last.eq(last_word),
                    step.p.last.eq(last_word & last_entry),
                ]
        return m
