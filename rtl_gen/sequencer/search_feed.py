"""The array controller's side of the search for scalars."""

from typing import TYPE_CHECKING

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Out

from rtl_gen.sequencer.array_step import ArrayStep
from rtl_gen.sequencer.operand_reader import OperandReader, operand_layout
from rtl_gen.sequencer.skipped_work import COLUMNS, DEPTH, SkippedWork

if TYPE_CHECKING:
    from rtl_gen.sequencer.array_controller import ArrayController

__all__ = ["connect_search", "search_ports"]


def search_ports(lanes: int) -> dict[str, Out]:
    """Ports of the array controller: operand words that are searched, and a counter event."""
    return {
        "search_words": Out(stream.Signature(operand_layout(lanes))),
        "macs_skipped_zero": Out(DEPTH.width + COLUMNS.width),
    }


def connect_search(
    m: Module,
    controller: "ArrayController",
    operands: OperandReader,
    step_stage: ArrayStep,
    skipped: SkippedWork,
    *,
    accept: Value,
    searches: Value,
    fc: data.View,
) -> None:
    """Send the operand words of an instruction that `searches` to the index engine.

    accept : the next instruction starts; fc : fully connected instruction in hand
    """
    searching = Signal()
    with m.If(accept):
        m.d.sync += searching.eq(searches)
    m.d.comb += [
        controller.search_words.payload.eq(operands.words.payload),
        controller.search_words.valid.eq(operands.words.valid & searching),
        skipped.searching.eq(searching),
        skipped.depth.eq(fc.depth),
        skipped.columns.eq(fc.columns),
        controller.macs_skipped_zero.eq(skipped.macs),
    ]
    with m.If(searching):
        m.d.comb += [
            step_stage.words.valid.eq(0),
            operands.words.ready.eq(controller.search_words.ready),
        ]
