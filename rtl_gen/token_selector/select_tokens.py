"""Executes SELECT: scores the token rows, moves up those that stay, packs the others."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import (
    ADDRESS_BITS,
    ERROR,
    ORIGIN_MOVES,
    PC_BITS,
    ROWS_BITS,
    SELECT_COMMAND,
    token_read_port,
    token_write_layout,
)
from rtl_gen.primitives.multiply import multiply
from rtl_gen.token_selector.kept_rows import KeptRows
from rtl_gen.token_selector.package_row import PackageRow
from rtl_gen.token_selector.score_reader import ScoreReader
from rtl_gen.token_selector.token_score import TokenScore
from spec.formats import RESIDUAL, SCORE
from spec.isa import Package, Scores
from spec.registers import Error

__all__ = ["SelectTokens"]

MOVING = 3
"""Words on their way from one row to another."""


class SelectTokens(wiring.Component):
    """One selection after the other: scores, then word for word of the rows.

    Golden twin: `golden_model.units.select_tokens.select_tokens`, with the scores of
    `golden_model.units.token_score`. No array of its own: a score unit, a comparison,
    min(norm_lanes, lanes / 2) multipliers for the package, and one for its quotients.

    Writes, and nothing else: if a row is dropped, then for each word of the rows, in order: that
    word of each kept row behind the first dropped one, in order, at its new place; then that word
    of the package, if there is one, at the place behind them. In place this is safe: no row moves
    back, and words of different number never meet. If no row is dropped, nothing is written.

    Timing: see `cycles`; reads or writes that wait for others add to it.

    Members
    -------
    command : SELECT_COMMAND, taken when idle
    read, write : token memory
    collected_* : the scores that attention collected (with `cls_scores` only): asks for a token's,
        which comes two cycles later; none is asked for while `collecting`
    origins : moves the origins of the rows beside their first words, not with `more` (with
        `origins` only)
    done : in the last cycle of an instruction; `live` and `packages` are the new numbers
    error : OPERAND when no row is left behind the prefix; then stands still until reset
    pc : of the instruction in work
    moved : a word was read: for the watchdog
    idle : nothing is in work
    """

    def __init__(
        self,
        *,
        lanes: int,
        norm_lanes: int,
        max_tokens: int,
        cls_scores: bool = False,
        logic_multipliers: bool = False,
        origins: bool = False,
    ) -> None:
        self._origins = origins
        self.lanes, self.max_tokens, self.cls_scores = lanes, max_tokens, cls_scores
        self.width = min(norm_lanes, lanes // 2)
        self.parts = lanes // 2 // self.width
        self.logic_multipliers = logic_multipliers
        collected = {
            "collected_enable": Out(1),
            "collected_token": Out(ROWS_BITS),
            "collected_score": In(SCORE.bits),
            "collecting": In(1),
        }
        super().__init__(
            {
                "command": In(stream.Signature(SELECT_COMMAND)),
                "read": Out(token_read_port(lanes)),
                "write": Out(stream.Signature(token_write_layout(lanes))),
                **(collected if cls_scores else {}),
                **({"origins": Out(ORIGIN_MOVES)} if origins else {}),
                "done": Out(1),
                "live": Out(ROWS_BITS),
                "packages": Out(ROWS_BITS),
                "error": Out(ERROR),
                "pc": Out(PC_BITS),
                "moved": Out(1),
                "idle": Out(1),
            }
        )

    def cycles(
        self, *, rows: int, prefix: int, words: int, heads: int, moving: int, package: bool
    ) -> int:
        """Cycles from the command's transfer to `done`, both included, when memory is free.

        rows, prefix, words : of the instruction
        heads : its heads; 0 if attention collected the scores
        moving : rows from the first dropped one on, 0 if none is
        package : there is to be one
        """
        scored = rows - prefix
        if heads:
            reads = 2 * (1 + (heads > self.lanes // 2))
            pace = max(heads, TokenScore.CYCLES, reads)
            total = 3 + reads + (scored - 1) * pace + heads + TokenScore.LATENCY
        else:
            total = 4 + scored
        total += KeptRows.LATENCY + 1
        if moving:
            drain = PackageRow.ADD_CYCLES + 2
            finish = PackageRow.finish_cycles(self.width) if package else 0
            parts = self.parts if package else 1
            total += PackageRow.SCALE_CYCLES - 1 if package else 0
            total += words * (parts * (moving + drain + finish) + package)
        return total

    def elaborate(self, platform: object) -> Module:
        """Scores, rows, package, and the order of all."""
        m = Module()
        multipliers = {"logic_multipliers": self.logic_multipliers}
        m.submodules.reader = reader = ScoreReader(lanes=self.lanes)
        m.submodules.token_score = score = TokenScore(**multipliers)
        m.submodules.kept_rows = rows = KeptRows(max_tokens=self.max_tokens)
        m.submodules.package_row = package = PackageRow(
            lanes=self.lanes, width=self.width, **multipliers
        )
        command = Signal(SELECT_COMMAND)
        senseless, packs, appends = Signal(), Signal(), Signal()
        m.d.comb += [
            self.pc.eq(command.pc),
            self.error.pc.eq(command.pc),
            senseless.eq(command.rows <= command.prefix),
            packs.eq(command.package != Package.NONE),
            appends.eq(packs & (rows.dropped != 0)),
            self.live.eq(command.rows - rows.dropped + appends),
            self.packages.eq(
                Mux(appends, Mux(command.each, command.packages + 1, 1), command.packages)
            ),
            self.moved.eq(self.read.valid),
        ]

        # Scores
        started, classifies, waits = Signal(), Signal(init=1), Signal()
        before = multiply(m, command.score_stride, command.prefix, logic=True)
        m.d.comb += [
            reader.command.eq(command),
            reader.rows.eq(command.rows - command.prefix),
            reader.keep.eq(command.keep + before),
            reader.attend.eq(command.attend + before),
            reader.start.eq(started & classifies),
            score.valid.eq(reader.valid),
            score.keep.eq(reader.keep_logit),
            score.attend.eq(reader.attend_logit),
            score.last.eq(reader.last),
            rows.start.eq(started),
            rows.command.eq(command),
            rows.first.eq(command.prefix),
            rows.row.eq(command.source + multiply(m, command.stride, command.prefix, logic=True)),
            rows.valid.eq(score.result_valid),
            rows.score.eq(score.score),
        ]
        if self.cls_scores:
            collects = command.scores == Scores.CLS_ATTENTION
            m.d.comb += [classifies.eq(~collects), waits.eq(collects & self.collecting)]
            self._collected(m, command, started & collects, rows)

        # Words of rows: those that stay to their new place, the others to the package
        m.submodules.queue = queue = fifo.SyncFIFO(width=self.lanes * 8, depth=MOVING)
        token, address, row, new_row = (
            Signal(ROWS_BITS),
            Signal(ADDRESS_BITS),
            Signal(ADDRESS_BITS),
            Signal(ADDRESS_BITS),
        )
        word, part = Signal(8), Signal(range(max(2, self.parts)))
        reading, scoring, packing, pass_start = Signal(), Signal(), Signal(), Signal()
        room = Signal(range(MOVING + 1), init=MOVING)
        asked, came, stays, popped = Signal(), Signal(), Signal(), Signal()
        last_part, all_read, rest, wanted = Signal(), Signal(), Signal(), Signal()
        arrived = Signal(PackageRow.ADD_CYCLES - 1)
        """Rows that the package's sums may not hold yet; regular, whether it takes them or not."""
        request = self.read.request
        m.d.comb += [
            last_part.eq((part == self.parts - 1) | ~packs),
            wanted.eq(reading & ~all_read & (room != 0)),
            request.valid.eq(Mux(scoring, reader.read.request.valid, wanted)),
            request.payload.eq(Mux(scoring, reader.read.request.payload, address)),
            reader.read.request.ready.eq(request.ready & scoring),
            reader.read.valid.eq(self.read.valid & scoring),
            reader.read.data.eq(self.read.data),
            asked.eq(request.valid & request.ready & ~scoring),
            rows.lookup.eq(asked),
            rows.index.eq(token),
            came.eq(self.read.valid & ~scoring),
            stays.eq(came & rows.kept & last_part),
            queue.w_en.eq(stays),
            queue.w_data.eq(self.read.data),
            package.valid.eq(came & ~rows.kept),
            package.weight.eq(rows.weight),
            Value.cast(package.channels).eq(
                self.read.data.word_select(part, self.width * RESIDUAL.bits)
            ),
            package.total.eq(rows.total),
            package.clear.eq(pass_start),
            self.write.valid.eq(queue.r_rdy | packing),
            self.write.p.address.eq(new_row),
            self.write.p.data.eq(Mux(packing, package.word, queue.r_data)),
            self.write.p.mask.eq(Const(-1, self.lanes)),
            self.write.p.pc.eq(command.pc),
            popped.eq(self.write.valid & self.write.ready),
            queue.r_en.eq(self.write.ready & ~packing),
            all_read.eq(token == command.rows),
            rest.eq(all_read & (room == MOVING) & ~arrived.any()),
        ]
        m.d.sync += arrived.eq(arrived << 1 | came)
        m.d.sync += room.eq(room - asked + (came & ~stays) + (popped & ~packing))
        with m.If(asked):
            m.d.sync += [token.eq(token + 1), address.eq(address + command.stride)]
        with m.If(popped):
            m.d.sync += new_row.eq(new_row + command.stride)
        with m.If(pass_start):
            m.d.sync += [token.eq(rows.gone), address.eq(row), new_row.eq(row)]

        # Order
        next_word, last_word = Signal(), Signal()
        if self._origins:
            moves, first_word = self.origins, (word == 0) & ~command.more
            m.d.comb += [
                moves.start.eq(pass_start & first_word),
                moves.first.eq(rows.gone),
                moves.read.eq(asked & first_word & last_part),
                moves.stays.eq(stays & first_word),
                moves.package.eq(packing & self.write.ready & first_word),
                moves.number.eq(Mux(command.each, command.packages, 0)),
                moves.end.eq(next_word & first_word),
            ]
        m.d.comb += last_word.eq(word + 1 == command.words)
        with m.If(next_word):
            m.d.sync += [word.eq(word + 1), row.eq(row + 1), part.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.command.ready.eq(1), self.idle.eq(1)]
                with m.If(self.command.valid):
                    m.d.sync += command.eq(self.command.payload)
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                with m.If(senseless):
                    m.next = "ERROR"
                with m.Elif(~waits):
                    m.d.comb += started.eq(1)
                    m.next = "SCORE"
            with m.State("SCORE"):
                m.d.comb += [scoring.eq(1), package.scale.eq(rows.done & appends)]
                m.d.sync += [word.eq(0), row.eq(rows.gone_row), part.eq(0)]
                with m.If(rows.done):
                    m.next = "PASS"
                    with m.If(packs):
                        m.next = "SCALE"
                    with m.If(rows.dropped == 0):
                        m.next = "DONE"
            with m.State("SCALE"), m.If(package.scaled):
                m.next = "PASS"
            with m.State("PASS"):
                m.d.comb += pass_start.eq(1)
                m.next = "ROWS"
            with m.State("ROWS"):
                m.d.comb += reading.eq(1)
                with m.If(rest):
                    m.d.comb += package.finish.eq(packs)
                    with m.If(packs):
                        m.next = "FINISH"
                    with m.Else():
                        m.d.comb += next_word.eq(1)
                        m.next = "PASS"
                        with m.If(last_word):
                            m.next = "DONE"
            with m.State("FINISH"), m.If(package.finished):
                m.d.sync += part.eq(part + 1)
                m.next = "PASS"
                with m.If(last_part):
                    m.next = "PACK"
            with m.State("PACK"):
                m.d.comb += packing.eq(1)
                with m.If(self.write.ready):
                    m.d.comb += next_word.eq(1)
                    m.next = "PASS"
                    with m.If(last_word):
                        m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.done.eq(1)
                m.next = "IDLE"
            with m.State("ERROR"):
                m.d.comb += [
                    self.error.valid.eq(1),
                    self.error.code.eq(Error.OPERAND),
                    self.idle.eq(1),
                ]
        return m

    def _collected(self, m: Module, command: data.View, started: Value, rows: KeptRows) -> None:
        """Ask for the scores that attention collected, a token a cycle."""
        token, asking = Signal(ROWS_BITS), Signal()
        coming = Signal(2)
        m.d.comb += [
            asking.eq(token != command.rows),
            self.collected_enable.eq(asking),
            self.collected_token.eq(token),
        ]
        m.d.sync += coming.eq(coming << 1 | asking)
        with m.If(started):
            m.d.sync += token.eq(command.prefix)
        with m.Elif(asking):
            m.d.sync += token.eq(token + 1)
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += token.eq(self.command.p.rows)
        with m.If(command.scores == Scores.CLS_ATTENTION):
            m.d.comb += [rows.valid.eq(coming[1]), rows.score.eq(self.collected_score)]
