"""Reads token rows and hands out their channels."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ADDRESS_BITS, token_read_port
from spec.formats import RESIDUAL

__all__ = ["RowReader", "channels_layout"]


def channels_layout(width: int) -> data.StructLayout:
    """`width` RESIDUALs of a row; `last` with the row's last ones."""
    return data.StructLayout({"values": data.ArrayLayout(signed(RESIDUAL.bits), width), "last": 1})


class RowReader(wiring.Component):
    """Streams int16 rows out of token memory, `width` channels at a time.

    Throughput: `width` channels a cycle while the port grants, no cycles lost between rows.
    Back-pressure: words wait in a small queue; none is asked for before it has a place there.

    Members
    -------
    words : words of each row, constant while rows are in work
    rows : first word address of each row
    read : token-memory read port
    o : stream of `channels_layout(width)`, pad lanes of the last word included
    """

    def __init__(self, *, lanes: int, width: int) -> None:
        if (lanes // 2) % width:
            raise ValueError(f"width must divide the {lanes // 2} channels of a word, not {width}")
        self.lanes = lanes
        self.width = width
        super().__init__(
            {
                "words": In(16),
                "rows": In(stream.Signature(ADDRESS_BITS)),
                "read": Out(token_read_port(lanes)),
                "o": Out(stream.Signature(channels_layout(width))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build requests, queue, and the way out."""
        m = Module()
        chunks = self.lanes // 2 // self.width
        depth = {1: 4, 2: 3}.get(chunks, 2)  # a request takes four cycles to its first channels
        m.submodules.queue = queue = fifo.SyncFIFO(width=self.lanes * 8, depth=depth)

        address, left = Signal(ADDRESS_BITS), Signal(16)
        room = Signal(range(depth + 1), init=depth)
        asked, started, popped = Signal(), Signal(), Signal()
        m.d.comb += [
            self.read.request.valid.eq((left != 0) & (room != 0)),
            self.read.request.payload.eq(address),
            asked.eq(self.read.request.valid & self.read.request.ready),
            self.rows.ready.eq((left == 0) | (asked & (left == 1))),
            started.eq(self.rows.valid & self.rows.ready),
            queue.w_en.eq(self.read.valid),
            queue.w_data.eq(self.read.data),
            queue.r_en.eq(popped),
        ]
        m.d.sync += room.eq(room - asked + popped)
        with m.If(started):
            m.d.sync += [address.eq(self.rows.payload), left.eq(self.words)]
        with m.Elif(asked):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1)]

        chunk, word = Signal(range(max(chunks, 2))), Signal(16)
        word_end, row_end = Signal(), Signal()
        m.d.comb += [
            word_end.eq(chunk == chunks - 1),
            row_end.eq(word_end & (word + 1 == self.words)),
            self.o.valid.eq(queue.r_rdy),
            Value.cast(self.o.payload.values).eq(
                queue.r_data.word_select(chunk, self.width * RESIDUAL.bits)
            ),
            self.o.payload.last.eq(row_end),
            popped.eq(self.o.valid & self.o.ready & word_end),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += chunk.eq(Mux(word_end, 0, chunk + 1))
        with m.If(popped):
            m.d.sync += word.eq(Mux(row_end, 0, word + 1))
        return m
