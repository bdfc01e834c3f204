"""Reads the program, in order and ahead of its use."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from rtl_gen.dma.axi import TRANSFER, read_data_layout
from rtl_gen.dma.extent import BASE_ALIGNMENT
from rtl_gen.interfaces import ERROR, ISSUED, PC_BITS, WINDOWS
from spec.isa import HEADER, INSTRUCTION_BITS, INSTRUCTION_BYTES, Opcode
from spec.registers import Error

__all__ = ["Fetcher"]

_REQUEST_LINES = 4


class Fetcher(wiring.Component):
    """Instructions 0, 1, 2 ... of the PROGRAM window, until HALT has been taken or `stop`.

    At most `depth` instructions are requested and not yet taken, and none beyond the window's
    limit, so the read channel never waits for the fetcher. Throughput: an instruction every
    256 / bus_bits cycles. On a 512-bit bus a beat is two instructions, and the last beat may reach
    beyond an odd limit.

    Error WINDOW: the program runs on at its limit (a rest of less than an instruction does not
    count) or at instruction 65,536; the base is not a multiple of BASE_ALIGNMENT; the window ends
    beyond 4 GiB.

    Members
    -------
    start : begin at instruction 0 (a pulse; only while `idle`, or after the channel's abort)
    stop : no more requests, discard what still arrives
    program : base and limit of the PROGRAM window
    request, data : to and from the read channel
    instruction : stream of ISSUED
    error : holds until `stop`
    program_bytes : bytes accepted in this cycle
    idle : not running, and nothing outstanding
    """

    def __init__(self, *, bus_bits: int, depth: int) -> None:
        self._bus_bits = bus_bits
        self._depth = depth
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "program": In(WINDOWS.elem_shape),
                "request": Out(stream.Signature(TRANSFER)),
                "data": In(stream.Signature(read_data_layout(bus_bits))),
                "instruction": Out(stream.Signature(ISSUED)),
                "error": Out(ERROR),
                "program_bytes": Out(range(bus_bits // 8 + 1)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        line_bits = max(INSTRUCTION_BITS, self._bus_bits)
        words = line_bits // INSTRUCTION_BITS
        """Instructions of a line."""
        beats = line_bits // self._bus_bits
        chunk = min(_REQUEST_LINES, max(1, self._depth // 2))
        m.submodules.lines = lines = SyncFIFOBuffered(width=line_bits, depth=self._depth)

        running = Signal()
        bad = Signal()
        end = Signal(PC_BITS + 1)
        """Instructions within the limit."""
        taken = Signal(PC_BITS + 1)
        requested = Signal(PC_BITS + 1)
        """Lines."""
        address = Signal(32)
        reserved = Signal(range(self._depth + 1))
        """Lines requested and not yet taken out of the FIFO."""
        missing = Signal(range(self._depth + 1))
        """Lines requested and not yet arrived."""

        # Requests
        end_line = Signal(PC_BITS + 1)
        remaining = Signal(PC_BITS + 1)
        ask = Signal(range(chunk + 1))
        asked = Signal()
        m.d.comb += [
            end_line.eq((end + (words - 1)) >> ceil_log2(words)),
            remaining.eq(end_line - requested),
            ask.eq(Mux(remaining < chunk, remaining, chunk)),
            self.request.valid.eq(
                running & ~bad & (remaining != 0) & (reserved <= self._depth - chunk)
            ),
            self.request.p.address.eq(address),
            self.request.p.beats.eq(ask * beats),
            asked.eq(self.request.valid & self.request.ready),
        ]
        with m.If(asked):
            m.d.sync += [
                requested.eq(requested + ask),
                address.eq(address + ask * (line_bits // 8)),
            ]

        # Data
        beat_taken = Signal()
        arrived = Signal()
        last_beat = Signal()
        if beats == 1:
            m.d.comb += [last_beat.eq(1), lines.w_data.eq(self.data.p.data)]
        else:
            index = Signal(range(beats))
            kept = Signal(line_bits - self._bus_bits)
            m.d.comb += [
                last_beat.eq(index == beats - 1),
                lines.w_data.eq(Cat(kept, self.data.p.data)),
            ]
            with m.If(beat_taken):
                m.d.sync += [
                    index.eq(index + 1),
                    kept.eq(Cat(kept, self.data.p.data)[self._bus_bits :]),
                ]
            with m.If(self.start):
                m.d.sync += index.eq(0)
        m.d.comb += [
            self.data.ready.eq(~running | ~last_beat | lines.w_rdy),
            beat_taken.eq(self.data.valid & self.data.ready),
            arrived.eq(beat_taken & last_beat),
            lines.w_en.eq(arrived & running),
            self.program_bytes.eq(Mux(beat_taken, self._bus_bits // 8, 0)),
            self.idle.eq(~running & (missing == 0) & ~lines.r_rdy),
        ]
        m.d.sync += missing.eq(missing + Mux(asked, ask, 0) - arrived)

        # Instructions
        step = Signal()
        popped = Signal()
        last_word = Signal()
        if words == 1:
            m.d.comb += last_word.eq(1)
            word = lines.r_data
        else:
            which = taken[: ceil_log2(words)]
            m.d.comb += last_word.eq(which == words - 1)
            word = lines.r_data.word_select(which, INSTRUCTION_BITS)
        m.d.comb += [
            self.instruction.valid.eq(running & lines.r_rdy & (taken != end)),
            self.instruction.p.pc.eq(taken),
            self.instruction.p.word.eq(word),
            step.eq(self.instruction.valid & self.instruction.ready),
            popped.eq(step & last_word),
            lines.r_en.eq(popped | ~running),
        ]
        m.d.sync += reserved.eq(reserved + Mux(asked, ask, 0) - popped)
        opcode = word[: HEADER["opcode"].width]
        with m.If(step):
            m.d.sync += taken.eq(taken + 1)
            with m.If(opcode == Opcode.HALT.value):
                m.d.sync += running.eq(0)

        # Control
        whole = self.program.limit >> ceil_log2(INSTRUCTION_BYTES)
        most = 1 << PC_BITS
        with m.If(self.start):
            m.d.sync += [
                running.eq(1),
                bad.eq(
                    self.program.base[: ceil_log2(BASE_ALIGNMENT)].any()
                    | ((self.program.base + self.program.limit)[: bits_for(1 << 32)] > 1 << 32)
                ),
                end.eq(Mux(whole > most, most, whole)),
                taken.eq(0),
                requested.eq(0),
                reserved.eq(0),
                missing.eq(0),
                address.eq(self.program.base),
            ]
        with m.If(self.stop):
            m.d.sync += running.eq(0)
        m.d.comb += [
            self.error.valid.eq(running & (bad | (taken == end))),
            self.error.code.eq(Mux(self.error.valid, Error.WINDOW.value, Error.NONE.value)),
            self.error.pc.eq(taken),
        ]
        return m
