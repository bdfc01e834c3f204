"""LayerNorm of token rows, with two passes that overlap."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl_gen.interfaces import (
    ADDRESS_BITS,
    ERROR,
    GIVE,
    GIVE_TOKEN,
    NORM_COMMAND,
    PC_BITS,
    table_read_port,
    token_read_port,
    token_write_layout,
)
from rtl_gen.postproc.norm_sums import NormSums
from rtl_gen.postproc.normalize import Normalize
from rtl_gen.postproc.row_reader import RowReader
from rtl_gen.postproc.row_statistics import STATISTICS, SUMS, RowStatistics
from spec.formats import ACT, NORM
from spec.registers import Error

__all__ = ["ROWS_IN_FLIGHT", "LayerNorm"]

ROWS_IN_FLIGHT = 6
"""Rows between the start of their first pass and the end of their second."""


class LayerNorm(wiring.Component):
    """Executes NORMALIZE: RESIDUAL rows in token memory to ACT rows there.

    Golden twin: `golden_model.units.layer_norm.layer_norm`. The first pass sums up a row, the
    second reads it again and normalizes it; up to `ROWS_IN_FLIGHT` rows are in between.
    Throughput: a row takes the largest of its words read twice at one a cycle, its channels
    (rounded up to whole words) at `width` a cycle, where `width` is min(norm_lanes, lanes / 2),
    and `RowStatistics.CYCLES`. Latency, when nothing is held up: a row's cycles and about 65 more
    from the command to the first write; not less than that between two instructions, as one
    instruction is in work at a time. Back-pressure: waits for tokens, reads and writes.

    Members
    -------
    command : NORM_COMMAND
    take_token : semaphore of which a credit is needed before a row is read
    read, write, table : token memory and LayerNorm tables
    give_token, give : credits, in the cycle after a row's last write and after the last of all
    error : TABLE_ADDRESS, or OPERAND for channels out of 1 .. 1,023 or no rows; then stands still
        until reset
    pc : of the instruction in work
    idle : nothing is in work
    """

    def __init__(
        self, *, lanes: int, norm_lanes: int, norm_tables: int, logic_multipliers: bool = False
    ) -> None:
        if lanes < 2 or lanes & (lanes - 1):
            raise ValueError(f"lanes must be a power of two, at least 2, not {lanes}")
        if lanes % norm_lanes:
            raise ValueError(f"norm_lanes must divide lanes ({lanes}), not {norm_lanes}")
        self.lanes = lanes
        self.norm_lanes = norm_lanes
        self.norm_tables = norm_tables
        self.logic_multipliers = logic_multipliers
        self.width = min(norm_lanes, lanes // 2)
        super().__init__(
            {
                "command": In(stream.Signature(NORM_COMMAND)),
                "take_token": Out(stream.Signature(4)),
                "read": Out(token_read_port(lanes)),
                "write": Out(stream.Signature(token_write_layout(lanes))),
                "table": Out(table_read_port(norm_lanes)),
                "give": Out(GIVE),
                "give_token": Out(GIVE_TOKEN),
                "error": Out(ERROR),
                "pc": Out(PC_BITS),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the first pass, the second, the shared read port, and the way out."""
        m = Module()
        logic = {"logic_multipliers": self.logic_multipliers}
        m.submodules.first = first = RowReader(lanes=self.lanes, width=self.width)
        m.submodules.second = second = RowReader(lanes=self.lanes, width=self.width)
        m.submodules.sums = sums = NormSums(lanes=self.width, **logic)
        m.submodules.statistics = statistics = RowStatistics()
        m.submodules.normalize = normalize = Normalize(lanes=self.width, **logic)
        m.submodules.sums_queue = sums_queue = fifo.SyncFIFO(width=SUMS.size, depth=ROWS_IN_FLIGHT)
        m.submodules.statistics_queue = statistics_queue = fifo.SyncFIFO(
            width=STATISTICS.size, depth=ROWS_IN_FLIGHT
        )
        command = Signal(NORM_COMMAND)
        running = Signal()
        blocks = Signal(16)
        first_left, write_left = Signal.like(command.rows), Signal.like(command.rows)
        first_row, second_row = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        write_row = Signal(ADDRESS_BITS)
        m.d.comb += [
            blocks.eq((command.channels + self.lanes - 1) >> exact_log2(self.lanes)),
            first.words.eq(blocks << 1),
            second.words.eq(blocks << 1),
            statistics.channels.eq(command.channels),
            statistics.epsilon.eq(command.epsilon),
            normalize.channels.eq(command.channels),
            normalize.fraction_bits.eq(command.fraction_bits),
        ]

        # First pass: rows to sums to statistics -----------------------------------------------
        in_flight = Signal(range(ROWS_IN_FLIGHT + 1))
        credit, wanted, started, retired = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            wanted.eq(running & (first_left != 0) & (in_flight != ROWS_IN_FLIGHT)),
            self.take_token.valid.eq(wanted & command.token_wait.valid & ~credit),
            self.take_token.payload.eq(command.token_wait.index),
            first.rows.valid.eq(wanted & (credit | ~command.token_wait.valid)),
            first.rows.payload.eq(first_row),
            started.eq(first.rows.valid & first.rows.ready),
            first.o.ready.eq(1),
            sums.valid.eq(first.o.valid),
            sums.values.eq(first.o.payload.values),
            sums.last.eq(first.o.payload.last),
            sums_queue.w_en.eq(sums.result_valid),
            sums_queue.w_data.eq(Cat(sums.total, sums.square_total)),
            statistics.sums.valid.eq(sums_queue.r_rdy),
            statistics.sums.payload.eq(sums_queue.r_data),
            sums_queue.r_en.eq(statistics.sums.ready),
            statistics_queue.w_en.eq(statistics.valid),
            statistics_queue.w_data.eq(statistics.result),
        ]
        m.d.sync += in_flight.eq(in_flight + started - retired)
        with m.If(self.take_token.valid & self.take_token.ready):
            m.d.sync += credit.eq(1)
        with m.If(started):
            m.d.sync += [
                credit.eq(0),
                first_left.eq(first_left - 1),
                first_row.eq(first_row + command.source_stride),
            ]

        # Second pass: rows that have statistics, through the pipeline, to words -----------------
        waiting = Signal.like(in_flight)
        step = Signal()
        m.d.comb += [
            step.eq(~self.write.valid | self.write.ready),
            second.rows.valid.eq(waiting != 0),
            second.rows.payload.eq(second_row),
            second.o.ready.eq(step),
            normalize.enable.eq(step),
            normalize.valid.eq(second.o.valid),
            normalize.values.eq(second.o.payload.values),
            normalize.row_end.eq(second.o.payload.last),
            normalize.statistics.eq(statistics_queue.r_data),
            retired.eq(second.o.valid & second.o.ready & second.o.payload.last),
            statistics_queue.r_en.eq(retired),
        ]
        restarted = second.rows.valid & second.rows.ready
        m.d.sync += waiting.eq(waiting + statistics.valid - restarted)
        with m.If(restarted):
            m.d.sync += second_row.eq(second_row + command.source_stride)
        self._look_up(m, command, normalize)

        chunks = self.lanes // self.width
        chunk, block = Signal(range(max(chunks, 2))), Signal.like(blocks)
        word = Signal(self.lanes * ACT.bits)
        written, row_written = Signal(), Signal()
        m.d.comb += [
            self.write.payload.address.eq(write_row + block),
            self.write.payload.data.eq(word),
            self.write.payload.mask.eq(~0),
            self.write.payload.pc.eq(command.pc),
            written.eq(self.write.valid & self.write.ready),
            row_written.eq(written & (block + 1 == blocks)),
        ]
        with m.If(step):
            m.d.sync += self.write.valid.eq(normalize.result_valid & (chunk == chunks - 1))
            with m.If(normalize.result_valid):
                m.d.sync += [
                    chunk.eq(Mux(chunk == chunks - 1, 0, chunk + 1)),
                    word.eq(Cat(word, normalize.result)[-len(word) :]),
                ]
        with m.If(written):
            m.d.sync += block.eq(block + 1)
        with m.If(row_written):
            m.d.sync += [
                block.eq(0),
                write_row.eq(write_row + command.target_stride),
                write_left.eq(write_left - 1),
            ]
        m.d.sync += [
            self.give_token.valid.eq(row_written & command.token_signal.valid),
            self.give_token.index.eq(command.token_signal.index),
            self.give.valid.eq(row_written & (write_left == 1)),
            self.give.mask.eq(command.signal),
        ]

        # Instruction -----------------------------------------------------------------------
        beyond = command.table + blocks > self.norm_tables
        senseless = (
            (command.channels == 0) | (command.channels > NORM.max_channels) | (command.rows == 0)
        )
        m.d.comb += [self.pc.eq(command.pc), self.error.pc.eq(command.pc)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    self.command.ready.eq(1),
                    self.idle.eq(~self.give.valid & ~self.give_token.valid),
                ]
                with m.If(self.command.valid):
                    m.d.sync += command.eq(self.command.payload)
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [
                    first_left.eq(command.rows),
                    write_left.eq(command.rows),
                    first_row.eq(command.source),
                    second_row.eq(command.source),
                    write_row.eq(command.target),
                ]
                m.next = "RUN"
                with m.If(senseless | beyond):
                    m.d.sync += self.error.code.eq(
                        Mux(senseless, Error.OPERAND, Error.TABLE_ADDRESS)
                    )
                    m.next = "ERROR"
            with m.State("RUN"):
                m.d.comb += running.eq(1)
                with m.If(row_written & (write_left == 1)):
                    m.next = "IDLE"
            with m.State("ERROR"):
                m.d.comb += [self.error.valid.eq(1), self.idle.eq(1)]
        self._share_port(m, first, second)
        return m

    def _look_up(self, m: Module, command: data.View, normalize: Normalize) -> None:
        """Ask for the table entries of the channels that will need them in the next cycle."""
        group = Signal(16)
        sharing = self.norm_lanes // self.width  # 2 if a table word serves two groups, else 1
        part = Signal(range(max(sharing, 2)))
        m.d.comb += [
            self.table.enable.eq(normalize.lookup),
            self.table.address.eq(
                (command.table << exact_log2(self.lanes // self.norm_lanes))
                + (group >> exact_log2(sharing))
            ),
            normalize.entries.eq(
                self.table.data.as_value().word_select(part, len(normalize.entries.as_value()))
            ),
        ]
        with m.If(normalize.lookup):
            m.d.sync += [
                group.eq(Mux(normalize.lookup_row_end, 0, group + 1)),
                part.eq(group & (sharing - 1)),
            ]

    def _share_port(self, m: Module, first: RowReader, second: RowReader) -> None:
        """One read port for two readers, the second before the first; one cycle of latency."""
        request = self.read.request
        owner, answered = Signal(), Signal()
        free = ~request.valid | request.ready
        m.d.comb += [
            second.read.request.ready.eq(free),
            first.read.request.ready.eq(free & ~second.read.request.valid),
            first.read.valid.eq(self.read.valid & ~answered),
            second.read.valid.eq(self.read.valid & answered),
            first.read.data.eq(self.read.data),
            second.read.data.eq(self.read.data),
        ]
        m.d.sync += answered.eq(owner)
        with m.If(free):
            m.d.sync += [
                request.valid.eq(first.read.request.valid | second.read.request.valid),
                owner.eq(second.read.request.valid),
                request.payload.eq(
                    Mux(
                        second.read.request.valid,
                        second.read.request.payload,
                        first.read.request.payload,
                    )
                ),
            ]
