"""The commands that an instruction of the array becomes."""

from collections.abc import Mapping

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.data import View

from spec.isa import ATTENTION, FULLY_CONNECTED, HEADER, Opcode

__all__ = ["execute_settings", "fill_commands", "fill_operands"]


def execute_settings(
    m: Module, issued: stream.Interface, registers: Mapping[Opcode, data.View]
) -> Signal:
    """Set the register of the next instruction's opcode when it is taken; high if it has one.

    issued : stream of ISSUED; registers : the body of the last instruction of each opcode
    """
    word = issued.p.word
    opcode = View(HEADER, word[: HEADER.size]).opcode
    found = Signal()
    for own, register in registers.items():
        with m.If(opcode == own):
            m.d.comb += found.eq(1)
            with m.If(issued.valid & issued.ready):
                body = word[HEADER.size :]
                m.d.sync += register.eq(body[: register.shape().size])
    return found


def fill_commands(
    m: Module,
    epilogue: data.View,
    softmax: data.View,
    *,
    issued: data.View,
    is_attention: Value,
    rows: Value,
    sieve: data.View,
) -> None:
    """Fill the epilogue's and the softmax's command from the instruction's fields.

    epilogue, softmax : EPILOGUE_COMMAND and SOFTMAX_COMMAND
    issued : ISSUED, a FULLY_CONNECTED or an ATTENTION
    rows : its rows (queries), resolved
    sieve : SIEVE in force
    """
    header = View(HEADER, issued.word[: HEADER.size])
    body = issued.word[HEADER.size :]
    fc = View(FULLY_CONNECTED, body[: FULLY_CONNECTED.size])
    attention = View(ATTENTION, body[: ATTENTION.size])
    for name in (
        "destination",
        "table",
        "activation",
        "activation_multiplier",
        "activation_shift",
        "activation_zero_point",
        "accumulate",
        "partial",
        "broadcast",
    ):
        with m.If(~is_attention):
            m.d.comb += epilogue[name].eq(fc[name])
    for name in ("head_words", "head_dim", "first_lane"):
        m.d.comb += epilogue[name].eq(attention[name])
    m.d.comb += [
        epilogue.pc.eq(issued.pc),
        epilogue.attention.eq(is_attention),
        epilogue.rows.eq(rows),
        epilogue.target.eq(Mux(is_attention, attention.target, fc.target)),
        epilogue.target_stride.eq(Mux(is_attention, attention.target_stride, fc.target_stride)),
        epilogue.threshold.eq(Mux(is_attention, sieve.context_threshold, sieve.threshold)),
        epilogue.placed.eq(sieve.placed),
        epilogue.positions.eq(sieve.positions),
        epilogue.token_signal.eq(header.token_signal),
        epilogue.signal.eq(header.signal),
        softmax.pc.eq(issued.pc),
        softmax.rows.eq(rows),
        softmax.score_multiplier.eq(attention.score_multiplier),
        softmax.score_shift.eq(attention.score_shift),
        softmax.output_multiplier.eq(attention.output_multiplier),
        softmax.output_shift.eq(attention.output_shift),
        softmax.scores.eq(attention.scores),
        softmax.skip_zeros.eq(sieve.skip_zeros),
        softmax.masked.eq(sieve.masked),
        softmax.score_threshold.eq(sieve.score_threshold),
        softmax.prob_threshold.eq(sieve.prob_threshold),
    ]


def fill_operands(
    m: Module,
    command: data.View,
    *,
    header: data.View,
    is_attention: Value,
    attention: data.View,
    query_words: Value,
    fc: data.View,
    lanes: int,
    rows: Value,
) -> None:
    """Fill the operand reader's command, OPERAND_COMMAND, from the instruction's fields.

    query_words : of a query row, of all heads side by side; rows : of the instruction, resolved
    """
    layer_words = (fc.depth + lanes - 1) // lanes
    m.d.comb += [
        command.address.eq(Mux(is_attention, attention.query, fc.source)),
        command.stride.eq(Mux(is_attention, attention.query_stride, fc.source_stride)),
        command.words.eq(Mux(is_attention, query_words, layer_words)),
        command.rows.eq(rows),
        command.token_wait.eq(header.token_wait),
    ]
