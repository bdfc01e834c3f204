"""The array controller's side of attention by lists."""

from typing import TYPE_CHECKING

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Out, connect, flipped

from rtl_gen.attention_interfaces import entries_layout
from rtl_gen.interfaces import ROWS_BITS, origin_read_port, present_port, token_read_port
from rtl_gen.sequencer.pair_walker import PairWalker
from spec.isa import ATTENTION
from spec.registers import Error

if TYPE_CHECKING:
    from rtl_gen.sequencer.array_controller import ArrayController

__all__ = ["MASKED_BITS", "connect_pairs", "pair_ports"]

MASKED_BITS = ROWS_BITS + 1 + ATTENTION["head_dim"].width + 1
"""Of the multiplications that a pair of queries leaves out."""


def pair_ports(banks: int, lanes: int) -> dict[str, Out]:
    """Ports of the array controller: lists, what they are compared with, and counter events."""
    return {
        "list_read": Out(token_read_port(lanes)),
        "origin": Out(origin_read_port()),
        "lookup": Out(present_port(banks)),
        "entries": Out(stream.Signature(entries_layout(banks))),
        "passing": Out(1),
        "index_words_read": Out(1),
        "macs_skipped_masked": Out(MASKED_BITS),
    }


def connect_pairs(
    m: Module,
    controller: "ArrayController",
    walker: PairWalker,
    *,
    start: Value,
    sieve: data.View,
    rows: Value,
    keys: Value,
    head_dim: Value,
) -> None:
    """Start the walker with an instruction, report its errors, and connect all but its pairs.

    start : an instruction that follows lists begins; rows, keys : its own
    head_dim : of the instruction in hand
    """
    for name in ("origin", "lookup", "entries"):
        connect(m, flipped(getattr(controller, name)), getattr(walker, name))
    connect(m, flipped(controller.list_read), walker.read)
    masked = Signal(MASKED_BITS)
    m.d.sync += masked.eq((walker.masked << 1) * head_dim)
    m.d.comb += [
        walker.start.eq(start),
        walker.lists.address.eq(sieve.lists),
        walker.lists.words.eq(sieve.list_words),
        walker.rows.eq(rows),
        walker.keys.eq(keys),
        controller.passing.eq(walker.passing),
        controller.index_words_read.eq(walker.word_used),
        controller.macs_skipped_masked.eq(masked),
    ]
    with m.If(walker.error):
        m.d.comb += [
            controller.error.valid.eq(1),
            controller.error.code.eq(Error.INDEX),
            controller.error.pc.eq(controller.pc),
        ]
