"""The load queue's executor: DRAM to row memory, token memory and tables."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.data import View
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from rtl_gen.dma.axi import TRANSFER, read_data_layout
from rtl_gen.dma.extent import Extent
from rtl_gen.dma.live_rows import transfer_rows
from rtl_gen.dma.load_writer import LOAD, Kind, LoadWriter, group_ports
from rtl_gen.interfaces import (
    ADDRESS_BITS,
    ERROR,
    GIVE,
    GIVE_TOKEN,
    ISSUED,
    PC_BITS,
    ROWS_BITS,
    WINDOWS,
    row_write_layout,
    table_write_layout,
    token_write_layout,
)
from spec.formats import REQUANTIZE
from spec.isa import HEADER, LOAD_NORM, LOAD_TOKENS, LOAD_WEIGHTS, Opcode, Window
from spec.registers import Error

__all__ = ["Loader"]


class Loader(wiring.Component):
    """Executes LOAD_WEIGHTS, LOAD_TOKENS and LOAD_NORM in order.

    Golden twin: the loads of `golden_model.machine`. The request side checks an instruction and
    asks for its data up to `ahead` instructions before the data side writes them, so that the
    memory's latency is hidden between instructions too. An instruction takes 6 cycles on the
    request side plus one for each significant bit of `words`; on the data side a cycle a beat.

    Errors, which stop the request side for good: WINDOW (see `Extent`), OPERAND (nothing to load,
    channels not a multiple of lanes, a per-row semaphore on an instruction that cannot serve it),
    ROW_ADDRESS, TABLE_ADDRESS (before anything is requested), TOKEN_ADDRESS (at the word beyond).

    Members
    -------
    instruction : stream of ISSUED
    windows : base and limit of every window
    request, data : to and from the read channel
    row_write, token_write, column_write, norm_write : streams of writes
    row_group, column_group : head group of these two (with several head groups only)
    give : with an instruction's last write
    give_token : LOAD_TOKENS: with the last write of each row
    error : holds
    pc : the instruction whose data are being written
    weights_bytes, input_bytes, scratch_bytes : bytes accepted in this cycle from this window
    program_bytes, result_bytes : likewise; no sensible program reads these
    idle : nothing to do
    live : the live-token register (with a token selector only): a LOAD_WEIGHTS with `live_above`
        that is not exceeded, or a load of live rows that are none, takes two cycles on the request
        side and one on the data side, and only gives its credits
    """

    def __init__(
        self,
        *,
        banks: int,
        lanes: int,
        bus_bits: int,
        vector_lanes: int,
        norm_lanes: int,
        row_words: int = 1 << 16,
        token_words: int = 1 << 16,
        column_tables: int | None = None,
        norm_tables: int | None = None,
        ahead: int = 4,
        head_groups: int = 1,
        token_selector: bool = False,
    ) -> None:
        self._token_selector = token_selector
        self._head_groups = head_groups
        self._banks = banks
        self._lanes = lanes
        self._bus_bits = bus_bits
        self._vector_lanes = vector_lanes
        self._norm_lanes = norm_lanes
        self._row_words = row_words
        self._token_words = token_words
        addressable = (1 << ADDRESS_BITS) // lanes
        self._column_tables = column_tables or addressable * vector_lanes
        self._norm_tables = norm_tables or addressable * norm_lanes
        self._ahead = ahead
        byte_count = range(bus_bits // 8 + 1)
        super().__init__(
            {
                "instruction": In(stream.Signature(ISSUED)),
                "windows": In(WINDOWS),
                "request": Out(stream.Signature(TRANSFER)),
                "data": In(stream.Signature(read_data_layout(bus_bits))),
                "row_write": Out(stream.Signature(row_write_layout(banks, lanes))),
                "token_write": Out(stream.Signature(token_write_layout(lanes))),
                "column_write": Out(stream.Signature(table_write_layout(vector_lanes))),
                "norm_write": Out(stream.Signature(table_write_layout(norm_lanes))),
                "give": Out(GIVE),
                "give_token": Out(GIVE_TOKEN),
                "error": Out(ERROR),
                "pc": Out(PC_BITS),
                "program_bytes": Out(byte_count),
                "weights_bytes": Out(byte_count),
                "input_bytes": Out(byte_count),
                "scratch_bytes": Out(byte_count),
                "result_bytes": Out(byte_count),
                "idle": Out(1),
                **group_ports(head_groups),
                **({"live": In(ROWS_BITS)} if token_selector else {}),
            }
        )

    def _decode(
        self, m: Module, issued: data.View, extent: Extent
    ) -> tuple[Signal, Signal, Value, Value]:
        """Fill the LOAD record and the extent.

        Returns the record, the error code (0: none), whether there is nothing to load, and, if so,
        whether that is an error.
        """
        word = issued.word
        header = View(HEADER, word[: HEADER.size])
        body = word[HEADER.size :]
        weights = View(LOAD_WEIGHTS, body[: LOAD_WEIGHTS.size])
        tokens = View(LOAD_TOKENS, body[: LOAD_TOKENS.size])
        norm = View(LOAD_NORM, body[: LOAD_NORM.size])
        size = extent.i.p
        rows = transfer_rows(m, tokens, self.live if self._token_selector else None, "transfer")
        skips: Value = Const(0, 1)
        if self._token_selector:
            few = (weights.live_above != 0) & (self.live <= weights.live_above)
            skips = Mux(
                header.opcode == Opcode.LOAD_WEIGHTS,
                few,
                (header.opcode == Opcode.LOAD_TOKENS) & tokens.live & (rows == 0),
            )
        load = Signal(LOAD)
        code = Signal(Error)
        lane_bits = ceil_log2(self._lanes)
        m.d.comb += [
            load.pc.eq(issued.pc),
            load.signal.eq(header.signal),
            load.token_signal.eq(header.token_signal),
            load.window.eq(Window.WEIGHTS),
            size.window.eq(Window.WEIGHTS.value),
        ]
        with m.Switch(header.opcode.as_value()):
            with m.Case(Opcode.LOAD_WEIGHTS.value):
                last_row = weights.row + ((weights.depth - 1)[:16] >> ceil_log2(self._banks))
                m.d.comb += [
                    load.kind.eq(Kind.WEIGHTS),
                    load.target.eq(weights.row),
                    load.table.eq(weights.table),
                    load.rows.eq(weights.depth),
                    size.offset.eq(weights.offset),
                    size.rows.eq(weights.depth + REQUANTIZE.entry_bytes),
                    size.words.eq(1),
                ]
                if self._head_groups > 1:
                    m.d.comb += [
                        load.words.eq(weights.further_groups + 1),
                        size.words.eq(weights.further_groups + 1),
                    ]
                with m.If(header.token_signal.valid | ((weights.depth == 0) & ~skips)):
                    m.d.comb += code.eq(Error.OPERAND)
                with m.Elif(skips):
                    pass
                with m.Elif(weights.table >= self._column_tables):
                    m.d.comb += code.eq(Error.TABLE_ADDRESS)
                with m.Elif(last_row >= self._row_words):
                    m.d.comb += code.eq(Error.ROW_ADDRESS)
            with m.Case(Opcode.LOAD_TOKENS.value):
                m.d.comb += [
                    load.kind.eq(Kind.TOKENS),
                    load.window.as_value().eq(tokens.window.as_value()),
                    load.target.eq(tokens.token),
                    load.rows.eq(rows),
                    load.words.eq(tokens.words),
                    load.stride.eq(tokens.stride),
                    size.window.eq(tokens.window.as_value()),
                    size.offset.eq(tokens.offset),
                    size.rows.eq(rows),
                    size.words.eq(tokens.words),
                ]
                with m.If(((rows == 0) | (tokens.words == 0)) & ~skips):
                    m.d.comb += code.eq(Error.OPERAND)
            with m.Case(Opcode.LOAD_NORM.value):
                blocks = norm.channels >> lane_bits
                m.d.comb += [
                    load.kind.eq(Kind.NORM),
                    load.table.eq(norm.table),
                    load.rows.eq(norm.channels >> ceil_log2(self._norm_lanes)),
                    size.offset.eq(norm.offset),
                    size.rows.eq(blocks),
                    size.words.eq(REQUANTIZE.entry_bytes),
                ]
                with m.If(
                    (norm.channels == 0)
                    | (norm.channels[:lane_bits] != 0)
                    | header.token_signal.valid
                ):
                    m.d.comb += code.eq(Error.OPERAND)
                with m.Elif(norm.table + blocks > self._norm_tables):
                    m.d.comb += code.eq(Error.TABLE_ADDRESS)
            with m.Default():
                m.d.comb += code.eq(Error.OPCODE)
        checked = Signal(Error)
        m.d.comb += checked.eq(code)
        with m.If(header.token_wait.valid & (code == Error.NONE)):
            m.d.comb += checked.eq(Error.OPERAND)
        with m.If(skips):
            m.d.comb += load.kind.eq(Kind.NOTHING)
        per_row = (header.opcode == Opcode.LOAD_WEIGHTS) & header.token_signal.valid
        return load, checked, skips, header.token_wait.valid | per_row

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        m.submodules.extent = extent = Extent(lanes=self._lanes, bus_bits=self._bus_bits)
        m.submodules.loads = loads = SyncFIFO(width=LOAD.size, depth=self._ahead)
        m.submodules.writer = writer = LoadWriter(
            banks=self._banks,
            lanes=self._lanes,
            bus_bits=self._bus_bits,
            vector_lanes=self._vector_lanes,
            norm_lanes=self._norm_lanes,
            token_words=self._token_words,
            head_groups=self._head_groups,
            skips=self._token_selector,
        )

        # Data side
        for name in ("data", "row_write", "token_write", "column_write", "norm_write"):
            connect(m, flipped(getattr(self, name)), getattr(writer, name))
        for name in group_ports(self._head_groups):
            m.d.comb += getattr(self, name).eq(getattr(writer, name))
        m.d.comb += [
            writer.load.valid.eq(loads.r_rdy),
            writer.load.payload.eq(loads.r_data),
            loads.r_en.eq(writer.load.ready),
            self.pc.eq(writer.load.p.pc),
            self.give.eq(writer.give),
            self.give_token.eq(writer.give_token),
        ]
        for window in Window:
            mine = writer.accepted & (writer.window.as_value() == window.value)
            count = getattr(self, f"{window.name.lower()}_bytes")
            m.d.comb += count.eq(Mux(mine, self._bus_bits // 8, 0))

        # Request side
        issued = Signal(ISSUED)
        error = Signal(ERROR)
        load, code, skips, stray = self._decode(m, issued, extent)
        m.d.comb += [
            extent.windows.eq(self.windows),
            self.request.payload.eq(extent.o.p.transfer),
            loads.w_data.eq(load),
            self.error.eq(Mux(error.valid, error, writer.error)),
        ]
        with m.FSM(name="request_side") as fsm:
            with m.State("IDLE"):
                m.d.comb += self.instruction.ready.eq(1)
                with m.If(self.instruction.valid):
                    m.d.sync += issued.eq(self.instruction.payload)
                    m.next = "CHECK"
            with m.State("CHECK"):
                # neither waits for the checks, which are long: after an error nothing is requested
                m.d.comb += [extent.i.valid.eq(~skips), loads.w_en.eq(skips & ~stray)]
                m.d.sync += [error.code.eq(code), error.pc.eq(issued.pc)]
                with m.If(code != Error.NONE):
                    m.d.sync += error.valid.eq(1)
                    m.next = "STOPPED"
                with m.Elif(skips), m.If(loads.w_rdy):
                    m.next = "IDLE"
                with m.Elif(extent.i.ready):
                    m.next = "REQUEST"
            with m.State("REQUEST"), m.If(extent.o.valid):
                with m.If(extent.o.p.bad):
                    m.d.sync += [
                        error.valid.eq(1),
                        error.code.eq(Error.WINDOW),
                        error.pc.eq(issued.pc),
                    ]
                    m.next = "STOPPED"
                with m.Else():
                    m.d.comb += [
                        self.request.valid.eq(loads.w_rdy),
                        loads.w_en.eq(self.request.ready),
                        extent.o.ready.eq(self.request.ready & loads.w_rdy),
                    ]
                    with m.If(extent.o.ready):
                        m.next = "IDLE"
            with m.State("STOPPED"):
                pass
            m.d.comb += self.idle.eq(fsm.ongoing("IDLE") & ~loads.r_rdy & ~writer.busy)
        return m
