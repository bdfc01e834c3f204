"""The store queue's executor: token memory to DRAM."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import View
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from rtl_gen.dma.axi import TRANSFER
from rtl_gen.dma.extent import Extent
from rtl_gen.dma.live_rows import transfer_rows
from rtl_gen.interfaces import (
    ADDRESS_BITS,
    ERROR,
    GIVE,
    ISSUED,
    ROWS_BITS,
    WINDOWS,
    token_read_port,
)
from spec.isa import HEADER, STORE_TOKENS, Opcode, Window
from spec.registers import Error

__all__ = ["Storer"]


class Storer(wiring.Component):
    """Executes STORE_TOKENS, one after the other.

    Golden twin: the store of `golden_model.machine`. Latency: about 12 cycles from instruction to
    first beat, and the memory's latency from last beat to credit. Throughput: one beat a cycle
    while token reads are granted. Back-pressure: up to 4 words are read ahead.

    Errors, which stop it for good: WINDOW (see `Extent`; only SCRATCH and RESULT can be written),
    OPERAND (no rows, no words, a per-row semaphore), TOKEN_ADDRESS (a word at or beyond
    `token_words`; the burst is left to the write channel's abort).

    Members
    -------
    instruction : stream of ISSUED
    windows : base and limit of every window
    token_read : a client port of token memory
    request, data, done : to and from the write channel
    give : with the response to an instruction's last burst
    error : holds
    scratch_bytes, result_bytes : bytes handed to the write channel in this cycle
    idle : nothing to do
    live : the live-token register, for stores of live rows (with a token selector only); one
        without rows gives its credits in its second cycle
    """

    def __init__(
        self,
        *,
        lanes: int,
        bus_bits: int,
        token_words: int = 1 << 16,
        token_selector: bool = False,
    ) -> None:
        self._token_selector = token_selector
        self._lanes = lanes
        self._bus_bits = bus_bits
        self._token_words = token_words
        byte_count = range(bus_bits // 8 + 1)
        super().__init__(
            {
                "instruction": In(stream.Signature(ISSUED)),
                "windows": In(WINDOWS),
                "token_read": Out(token_read_port(lanes)),
                "request": Out(stream.Signature(TRANSFER)),
                "data": Out(stream.Signature(bus_bits)),
                "done": In(1),
                "give": Out(GIVE),
                "error": Out(ERROR),
                "scratch_bytes": Out(byte_count),
                "result_bytes": Out(byte_count),
                "idle": Out(1),
                **({"live": In(ROWS_BITS)} if token_selector else {}),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        word_beats = self._lanes * 8 // self._bus_bits
        depth = 4 if word_beats < 4 else 2
        m.submodules.extent = extent = Extent(
            lanes=self._lanes, bus_bits=self._bus_bits, writable=True
        )
        m.submodules.words = words = SyncFIFO(width=self._lanes * 8, depth=depth)

        issued = Signal(ISSUED)
        header = View(HEADER, issued.word[: HEADER.size])
        body = View(STORE_TOKENS, issued.word[HEADER.size :][: STORE_TOKENS.size])
        error = Signal(ERROR)
        wanted = rows = transfer_rows(m, body, None, "wanted")
        skips: Value = Const(0, 1)
        if self._token_selector:
            wanted, rows = transfer_rows(m, body, self.live, "wanted"), Signal(ROWS_BITS)
            skips = body.live & (wanted == 0)

        # Reads
        reading = Signal()
        word = Signal(8)
        row = Signal(12)
        start = Signal(ADDRESS_BITS)
        """Of the row, from `token` on."""
        reserved = Signal(range(depth + 1))
        """Words granted and not yet taken out of the FIFO."""
        address = Signal(ADDRESS_BITS)
        inside = Signal()
        granted = Signal()
        popped = Signal()
        last_word = word == body.words - 1
        last_row = row == rows - 1
        read = self.token_read
        m.d.comb += [
            address.eq(body.token + start + word),
            inside.eq(address < self._token_words),
            read.request.valid.eq(reading & inside & (reserved != depth)),
            read.request.payload.eq(address),
            granted.eq(read.request.valid & read.request.ready),
            words.w_en.eq(read.valid),
            words.w_data.eq(read.data),
        ]
        with m.If(granted):
            m.d.sync += word.eq(Mux(last_word, 0, word + 1))
            with m.If(last_word):
                m.d.sync += [start.eq(start + body.stride), row.eq(row + 1)]
                with m.If(last_row):
                    m.d.sync += [start.eq(0), row.eq(0), reading.eq(0)]
        m.d.sync += reserved.eq(reserved + granted - popped)

        # Words to beats
        taken = Signal()
        m.d.comb += [
            self.data.valid.eq(words.r_rdy),
            taken.eq(self.data.valid & self.data.ready),
            words.r_en.eq(popped),
        ]
        if word_beats == 1:
            m.d.comb += [self.data.payload.eq(words.r_data), popped.eq(taken)]
        else:
            beat = Signal(range(word_beats))
            m.d.comb += [
                self.data.payload.eq(words.r_data.word_select(beat, self._bus_bits)),
                popped.eq(taken & (beat == word_beats - 1)),
            ]
            with m.If(taken):
                m.d.sync += beat.eq(beat + 1)
        for window in (Window.SCRATCH, Window.RESULT):
            mine = taken & (body.window.as_value() == window.value)
            count = getattr(self, f"{window.name.lower()}_bytes")
            m.d.comb += count.eq(Mux(mine, self._bus_bits // 8, 0))

        # Control
        m.d.comb += [
            extent.windows.eq(self.windows),
            extent.i.p.window.eq(body.window.as_value()),
            extent.i.p.offset.eq(body.offset),
            extent.i.p.rows.eq(wanted),
            extent.i.p.words.eq(body.words),
            self.request.payload.eq(extent.o.p.transfer),
            self.error.eq(error),
            self.give.mask.eq(header.signal),
        ]

        def stop(code: Error) -> None:
            m.d.sync += [error.valid.eq(1), error.code.eq(code), error.pc.eq(issued.pc)]
            m.next = "STOPPED"

        with m.FSM(name="storer"):
            with m.State("IDLE"):
                m.d.comb += [self.instruction.ready.eq(1), self.idle.eq(1)]
                with m.If(self.instruction.valid):
                    m.d.sync += issued.eq(self.instruction.payload)
                    m.next = "CHECK"
            with m.State("CHECK"):
                with m.If(header.opcode.as_value() != Opcode.STORE_TOKENS.value):
                    stop(Error.OPCODE)
                with m.Elif(header.token_wait.valid | header.token_signal.valid):
                    stop(Error.OPERAND)
                with m.Elif(skips):
                    m.d.comb += self.give.valid.eq(1)
                    m.next = "IDLE"
                with m.Elif((wanted == 0) | (body.words == 0)):
                    stop(Error.OPERAND)
                with m.Else():
                    m.d.comb += extent.i.valid.eq(1)
                    if rows is not wanted:
                        m.d.sync += rows.eq(wanted)
                    with m.If(extent.i.ready):
                        m.next = "REQUEST"
            with m.State("REQUEST"), m.If(extent.o.valid):
                with m.If(extent.o.p.bad):
                    stop(Error.WINDOW)
                with m.Else():
                    m.d.comb += [
                        self.request.valid.eq(1),
                        extent.o.ready.eq(self.request.ready),
                    ]
                    with m.If(extent.o.ready):
                        m.d.sync += reading.eq(1)
                        m.next = "STORE"
            with m.State("STORE"):
                with m.If(reading & ~inside):
                    stop(Error.TOKEN_ADDRESS)
                    m.d.sync += reading.eq(0)
                with m.Elif(self.done):
                    m.d.comb += self.give.valid.eq(1)
                    m.next = "IDLE"
            with m.State("STOPPED"):
                pass
        return m
