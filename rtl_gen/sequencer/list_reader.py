"""Reads lists of kept scores from token memory, step by step."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ADDRESS_BITS, token_read_port

__all__ = ["LIST_COMMAND", "ListReader"]

LIST_COMMAND = data.StructLayout({"address": 16, "words": 16})
"""Token-memory words of lists."""


class ListReader(wiring.Component):
    """Reads ahead of the walker by `depth` words; a word holds lanes / banks steps.

    Latency: three cycles from `start` to the first step. Throughput: a step a cycle while the
    port grants. A `start` drops what is left of the lists before.

    Members
    -------
    start, command : begin reading
    stop : read no further
    read : the token-memory port
    steps : `banks` bytes, bank 0 lowest
    left : steps that have not been taken
    word_used : the first step of a word is taken
    """

    def __init__(self, *, banks: int, lanes: int, depth: int = 4) -> None:
        self._banks, self._lanes, self._depth = banks, lanes, depth
        super().__init__(
            {
                "start": In(1),
                "command": In(LIST_COMMAND),
                "stop": In(1),
                "read": Out(token_read_port(lanes)),
                "steps": Out(stream.Signature(data.ArrayLayout(8, banks))),
                "left": Out(16 + (lanes // banks - 1).bit_length()),
                "word_used": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        slices = self._lanes // self._banks
        buffer = fifo.SyncFIFO(width=self._lanes * 8, depth=self._depth)
        m.submodules.buffer = ResetInserter(self.start)(buffer)
        address, words = Signal(ADDRESS_BITS), Signal(16)
        in_flight = Signal()
        at = Signal(range(max(slices, 2)))
        taken = Signal()
        request = self.read.request
        m.d.comb += [
            request.payload.eq(address),
            request.valid.eq((words != 0) & (buffer.level + in_flight < self._depth)),
            buffer.w_data.eq(self.read.data),
            buffer.w_en.eq(in_flight & self.read.valid),
            self.steps.payload.as_value().eq(buffer.r_data.word_select(at, self._banks * 8)),
            self.steps.valid.eq(buffer.r_rdy & (self.left != 0)),
            taken.eq(self.steps.valid & self.steps.ready),
            buffer.r_en.eq(taken & (at == slices - 1)),
            self.word_used.eq(taken & (at == 0)),
        ]
        m.d.sync += in_flight.eq(request.valid & request.ready & ~self.start)
        with m.If(request.valid & request.ready):
            m.d.sync += [address.eq(address + 1), words.eq(words - 1)]
        with m.If(taken):
            m.d.sync += [at.eq(Mux(at == slices - 1, 0, at + 1)), self.left.eq(self.left - 1)]
        with m.If(self.stop):
            m.d.sync += words.eq(0)
        with m.If(self.start):
            m.d.sync += [
                address.eq(self.command.address),
                words.eq(self.command.words),
                self.left.eq(self.command.words * slices),
                at.eq(0),
            ]
        return m
