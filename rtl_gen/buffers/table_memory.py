"""Table memory: requantize or LayerNorm entries, `entries` of them a word."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from rtl_gen.interfaces import ADDRESS_BITS, table_read_port, table_write_layout

__all__ = ["TableMemory"]


class TableMemory(wiring.Component):
    """`words` words of `entries` TABLE_ENTRYs, with one read port and one write port.

    Latency: data one cycle after `read.enable`, held until the next. Throughput: one read and one
    write a cycle; writes never wait. A word read and written in one cycle is undefined (in
    simulation: the old one): no program does it, and to synthesis it is a don't-care.

    Members
    -------
    write : one word; beyond the end it completes without effect
    write_error : a write beyond the end was taken in this cycle
    read : the client's read port
    read_error : a read beyond the end in this cycle (its data mean nothing)
    """

    def __init__(self, *, words: int, entries: int) -> None:
        if entries < 1:
            raise ValueError(f"entries must be positive, not {entries}")
        if not 1 <= words < 1 << ADDRESS_BITS:
            raise ValueError(f"words must lie in 1..{(1 << ADDRESS_BITS) - 1}, not {words}")
        self.words = words
        self.entries = entries
        super().__init__(
            {
                "write": In(stream.Signature(table_write_layout(entries))),
                "write_error": Out(1),
                "read": In(table_read_port(entries)),
                "read_error": Out(1),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        word = self.write.p.data.shape()
        m.submodules.memory = memory = Memory(
            shape=word.size, depth=self.words, init=[], attrs={"no_rw_check": 1}
        )
        read, write = memory.read_port(), memory.write_port()
        address_bits = ceil_log2(self.words)

        write_beyond = self.write.p.address >= self.words
        m.d.comb += [
            self.write.ready.eq(1),
            write.addr.eq(self.write.p.address[:address_bits]),
            write.data.eq(self.write.p.data),
            write.en.eq(self.write.valid & ~write_beyond),
            self.write_error.eq(self.write.valid & write_beyond),
            read.addr.eq(self.read.address[:address_bits]),
            read.en.eq(self.read.enable),
            self.read.data.eq(read.data),
            self.read_error.eq(self.read.enable & (self.read.address >= self.words)),
        ]
        return m
