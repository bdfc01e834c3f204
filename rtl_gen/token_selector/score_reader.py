"""Reads the logits of a token selector, head by head."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ADDRESS_BITS, ROWS_BITS, SELECT_COMMAND, token_read_port
from rtl_gen.token_selector.token_score import TokenScore
from spec.formats import LOGIT, SELECTOR

__all__ = ["ScoreReader"]


class ScoreReader(wiring.Component):
    """Streams the keep and attention logits of rows, a head a cycle.

    Throughput: a row in `max(heads, TokenScore.CYCLES, reads)` cycles while the port grants, with
    two reads a row, or four where the logits of `heads` heads take two words. Latency: the first
    head comes 2 + reads cycles after `start`. The next row's words but the last one are read while
    a row's heads are handed out.

    Members
    -------
    start, rows : begin; so many rows behind the prefix
    command : the instruction, constant while active
    keep, attend : address of the first row's logits, with `start`
    read : token-memory read port
    valid, keep_logit, attend_logit, last : the logits of a head
    """

    def __init__(self, *, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(
            {
                "start": In(1),
                "rows": In(ROWS_BITS),
                "command": In(SELECT_COMMAND),
                "keep": In(ADDRESS_BITS),
                "attend": In(ADDRESS_BITS),
                "read": Out(token_read_port(lanes)),
                "valid": Out(1),
                "keep_logit": Out(signed(LOGIT.bits)),
                "attend_logit": Out(signed(16)),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Requests, the words that wait, and the shift registers of a row's heads."""
        m = Module()
        bits, command = LOGIT.bits, self.command
        most_heads = min(SELECTOR.max_heads, self.lanes)
        word_bits = min(self.lanes * 8, most_heads * bits)
        two_words = most_heads * bits > word_bits
        double = (command.heads > self.lanes // 2) if two_words else 0

        # Requests: keep logits, then attention logits, of one row after the other
        left = Signal(ROWS_BITS)
        addresses = [Signal(ADDRESS_BITS, name=name) for name in ("keep_row", "attend_row")]
        attends, second = Signal(), Signal()
        steps = Signal(range(max(most_heads, TokenScore.CYCLES) + 1))
        request = self.read.request
        final, asked = Signal(), Signal()
        m.d.comb += [
            final.eq(attends & (second == double)),
            request.valid.eq((left != 0) & (~final | (steps <= 2))),
            request.payload.eq(Array(addresses)[attends] + second),
            asked.eq(request.valid & request.ready),
        ]
        with m.If(self.start):
            m.d.sync += [
                left.eq(self.rows),
                addresses[0].eq(self.keep),
                addresses[1].eq(self.attend),
            ]
        with m.Elif(asked):
            with m.If(second == double):
                m.d.sync += [second.eq(0), attends.eq(~attends)]
            with m.Else():
                m.d.sync += second.eq(1)
            with m.If(final):
                m.d.sync += left.eq(left - 1)
                m.d.sync += [address.eq(address + command.score_stride) for address in addresses]

        # Words: all but a row's last one wait for it
        asked_attends, asked_second, asked_final = Signal(), Signal(), Signal()
        m.d.sync += [
            asked_attends.eq(attends),
            asked_second.eq(second),
            asked_final.eq(asked & final),
        ]
        word = self.read.data[:word_bits]
        names = ("keep_0", "keep_1", "attend_0") if two_words else ("keep_0",)
        waiting = [Signal(word_bits, name=name, reset_less=True) for name in names]
        with m.If(self.read.valid):
            for number, held in enumerate(waiting):
                mine = (asked_attends == number // 2) & (asked_second == number % 2)
                with m.If(mine):
                    m.d.sync += held.eq(word)

        # Heads
        keeps, attend = (
            Signal(most_heads * bits, name=name, reset_less=True) for name in ("keeps", "attend")
        )
        heads = Signal(range(most_heads + 1))
        m.d.comb += [
            self.valid.eq(heads != 0),
            self.last.eq(heads == 1),
            self.keep_logit.eq(keeps[:bits]),
            self.attend_logit.eq(attend[:bits]),
        ]
        with m.If(asked_final):
            m.d.sync += [
                keeps.eq(Cat(waiting[:2])),
                attend.eq(Mux(double, Cat(waiting[2], word), word) if two_words else word),
                heads.eq(command.heads),
                steps.eq(Mux(command.heads > TokenScore.CYCLES, command.heads, TokenScore.CYCLES)),
            ]
        with m.Else():
            m.d.sync += [
                keeps.eq(keeps >> bits),
                attend.eq(attend >> bits),
                heads.eq(heads - (heads != 0)),
                steps.eq(steps - (steps != 0)),
            ]
        return m
