"""The head of the vector queue: sets the live-token register, hands LayerNorm its commands."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ERROR, GIVE, ISSUED, NORM_COMMAND, ROWS_BITS
from spec.isa import HEADER, LIVE, NORMALIZE, Opcode
from spec.registers import Error

__all__ = ["VectorIssue", "resolve_rows"]


def resolve_rows(m: Module, rows: data.View, live: Signal, name: str) -> Signal:
    """The row count of an instruction: `count`, or the live tokens less `count` (0 if negative)."""
    resolved = Signal(ROWS_BITS, name=name)
    with m.If(~rows.live):
        m.d.comb += resolved.eq(rows.count)
    with m.Elif(rows.count <= live):
        m.d.comb += resolved.eq(live - rows.count)
    return resolved


class VectorIssue(wiring.Component):
    """Executes LIVE itself and turns NORMALIZE into a command with its row count resolved.

    Members
    -------
    issued : stream of ISSUED from the vector queue.
    command : stream of NORM_COMMAND.
    give : credits of LIVE.
    live : the live-token register.
    error : OPERAND when no row is left.
    """

    issued: In(stream.Signature(ISSUED))
    command: Out(stream.Signature(NORM_COMMAND))
    give: Out(GIVE)
    live: Out(ROWS_BITS)
    error: Out(ERROR)

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        word = self.issued.p.word
        header = View(HEADER, word[: HEADER.size])
        live = View(LIVE, word[HEADER.size :][: LIVE.size])
        norm = View(NORMALIZE, word[HEADER.size :][: NORMALIZE.size])
        rows = resolve_rows(m, norm.rows, self.live, "rows")

        is_live = header.opcode == Opcode.LIVE
        for name in NORM_COMMAND.members:
            if name not in ("pc", "rows", "token_wait", "token_signal", "signal"):
                m.d.comb += self.command.payload[name].eq(norm[name])
        m.d.comb += [
            self.command.p.pc.eq(self.issued.p.pc),
            self.command.p.rows.eq(rows),
            self.command.p.token_wait.eq(header.token_wait),
            self.command.p.token_signal.eq(header.token_signal),
            self.command.p.signal.eq(header.signal),
            self.command.valid.eq(self.issued.valid & ~is_live & (rows != 0)),
            self.issued.ready.eq(is_live | (self.command.ready & (rows != 0))),
            self.error.valid.eq(self.issued.valid & ~is_live & (rows == 0)),
            self.error.code.eq(Error.OPERAND),
            self.error.pc.eq(self.issued.p.pc),
            self.give.mask.eq(header.signal),
            self.give.valid.eq(self.issued.valid & is_live),
        ]
        with m.If(self.issued.valid & is_live):
            m.d.sync += self.live.eq(live.tokens)
        return m
