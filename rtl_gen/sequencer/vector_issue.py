"""The head of the vector queue: sets the live-token register, hands LayerNorm its commands."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ERROR, GIVE, ISSUED, NORM_COMMAND, ROWS_BITS, SELECT_COMMAND
from spec.isa import HEADER, LIVE, NORMALIZE, SELECT, Opcode
from spec.registers import Error

__all__ = ["VectorIssue", "leaves_none", "resolve_rows"]


def resolve_rows(
    m: Module, rows: data.View, live: Signal, name: str, limit: Value | None = None
) -> Signal:
    """The row count of an instruction: `count`, or the live tokens less `count` (0 if negative).

    Live ones are at most `limit`, if that is not 0.
    """
    resolved = Signal(ROWS_BITS, name=name)
    with m.If(~rows.live):
        m.d.comb += resolved.eq(rows.count)
    with m.Elif(rows.count <= live):
        m.d.comb += resolved.eq(live - rows.count)
        if limit is not None:
            with m.If((limit != 0) & (live - rows.count > limit)):
                m.d.comb += resolved.eq(limit)
    return resolved


def leaves_none(rows: data.View, live: Value) -> Value:
    """Whether `resolve_rows` is 0, sooner than by waiting for it."""
    return Mux(rows.live, rows.count >= live, rows.count == 0)


class VectorIssue(wiring.Component):
    """Executes LIVE itself and turns NORMALIZE into a command with its row count resolved.

    With a token selector also SELECT: it starts when LayerNorm has written all that is before it,
    and what is behind it waits until it is over. A NORMALIZE whose `row_limit` leaves no row gives
    its credits when LayerNorm has written all that is before it.

    Members
    -------
    issued : stream of ISSUED from the vector queue.
    command : stream of NORM_COMMAND.
    give : credits of LIVE.
    live : the live-token register.
    sets_live, tokens : LIVE sets it to so many tokens.
    error : OPERAND when no row is left.

    With a token selector only:
    select : stream of SELECT_COMMAND.
    selected, new_live, new_packages : it is over, with these numbers of rows.
    norm_idle : LayerNorm has written everything.
    """

    def __init__(self, *, token_selector: bool = False) -> None:
        self._token_selector = token_selector
        selector = {
            "select": Out(stream.Signature(SELECT_COMMAND)),
            "selected": In(1),
            "new_live": In(ROWS_BITS),
            "new_packages": In(ROWS_BITS),
            "norm_idle": In(1),
        }
        super().__init__(
            {
                "issued": In(stream.Signature(ISSUED)),
                "command": Out(stream.Signature(NORM_COMMAND)),
                "give": Out(GIVE),
                "live": Out(ROWS_BITS),
                "sets_live": Out(1),
                "tokens": Out(ROWS_BITS),
                "error": Out(ERROR),
                **(selector if token_selector else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        word = self.issued.p.word
        header = View(HEADER, word[: HEADER.size])
        live = View(LIVE, word[HEADER.size :][: LIVE.size])
        norm = View(NORMALIZE, word[HEADER.size :][: NORMALIZE.size])
        limit = header.row_limit if self._token_selector else None
        rows = resolve_rows(m, norm.rows, self.live, "rows", limit)
        empty = Signal()

        is_live = header.opcode == Opcode.LIVE
        for name in NORM_COMMAND.members:
            if name not in ("pc", "rows", "token_wait", "token_signal", "signal"):
                m.d.comb += self.command.payload[name].eq(norm[name])
        m.d.comb += [
            empty.eq(leaves_none(norm.rows, self.live)),
            self.command.p.pc.eq(self.issued.p.pc),
            self.command.p.rows.eq(rows),
            self.command.p.token_wait.eq(header.token_wait),
            self.command.p.token_signal.eq(header.token_signal),
            self.command.p.signal.eq(header.signal),
            self.error.code.eq(Error.OPERAND),
            self.error.pc.eq(self.issued.p.pc),
            self.give.mask.eq(header.signal),
        ]
        if self._token_selector:
            sets = self._select(m, header, is_live, empty)
        else:
            sets = self.issued.valid & is_live
            m.d.comb += [
                self.command.valid.eq(self.issued.valid & ~is_live & ~empty),
                self.issued.ready.eq(is_live | (self.command.ready & ~empty)),
                self.error.valid.eq(self.issued.valid & ~is_live & empty),
                self.give.valid.eq(sets),
            ]
        m.d.comb += [self.sets_live.eq(sets), self.tokens.eq(live.tokens)]
        with m.If(sets):
            m.d.sync += self.live.eq(live.tokens)
        return m

    def _select(self, m: Module, header: data.View, is_live: Value, empty: Signal) -> Value:
        """Readiness, credits and registers with a token selector; returns whether LIVE acts."""
        fields = View(SELECT, self.issued.p.word[HEADER.size :][: SELECT.size])
        selecting, signal = Signal(), Signal.like(self.give.mask)
        packages, more = Signal(ROWS_BITS), Signal()
        is_select, skips, free = Signal(), Signal(), Signal()
        for name in SELECT.members:
            m.d.comb += self.select.payload[name].eq(fields[name])
        normalizes = ~is_live & ~is_select
        m.d.comb += [
            free.eq(self.issued.valid & ~selecting),
            is_select.eq(header.opcode == Opcode.SELECT),
            skips.eq(normalizes & empty & (header.row_limit != 0)),
            self.select.p.pc.eq(self.issued.p.pc),
            self.select.p.rows.eq(self.live),
            self.select.p.packages.eq(packages),
            self.select.valid.eq(free & is_select & self.norm_idle),
            self.command.valid.eq(free & normalizes & ~empty),
            self.issued.ready.eq(
                ~selecting
                & Mux(
                    is_select,
                    self.select.ready & self.norm_idle,
                    is_live | (skips & self.norm_idle) | (self.command.ready & ~empty),
                )
            ),
            self.error.valid.eq(free & normalizes & empty & ~skips),
            self.give.valid.eq(self.selected | (free & (is_live | (skips & self.norm_idle)))),
        ]
        with m.If(self.selected):
            m.d.comb += self.give.mask.eq(signal)
            m.d.sync += selecting.eq(0)
            with m.If(~more):
                m.d.sync += [self.live.eq(self.new_live), packages.eq(self.new_packages)]
        with m.If(self.select.valid & self.select.ready):
            m.d.sync += [selecting.eq(1), signal.eq(header.signal), more.eq(fields.more)]
        with m.If(free & is_live):
            m.d.sync += packages.eq(0)
        return free & is_live
