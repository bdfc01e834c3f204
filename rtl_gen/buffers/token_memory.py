"""Token memory: activations and residuals, one memory shared by several readers and writers."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from rtl_gen.interfaces import ADDRESS_BITS, PC_BITS, token_read_port, token_write_layout

__all__ = ["TokenMemory", "token_trace_layout"]


def token_trace_layout(lanes: int) -> data.StructLayout:
    """One token-memory write, as the trace reports it: `mask` has a bit a lane."""
    return data.StructLayout(
        {
            "valid": 1,
            "pc": PC_BITS,
            "address": ADDRESS_BITS,
            "mask": lanes,
            "data": lanes * 8,
        }
    )


class TokenMemory(wiring.Component):
    """`words` words of `lanes` bytes, with one read port and one write port (a mask bit a byte).

    Latency: data one cycle after the grant. Throughput: one read and one write a cycle.
    Back-pressure: the lowest index wins, the others keep waiting; `denied` tells the counters.
    A word read and written in one cycle is undefined (in simulation: the old one); semaphores keep
    programs from it, and to synthesis it is a don't-care (`no_rw_check`).

    Members
    -------
    read : clients' read ports; `valid` marks the cycle in which `data` answers a client's grant
    denied : clients whose request waits in this cycle because another one won
    read_error : a client was granted a word beyond the end in this cycle (its data mean nothing)
    write : clients' writes; beyond the end they complete without effect
    write_error : a client's write beyond the end was taken in this cycle
    trace : the write of this cycle
    """

    def __init__(self, *, lanes: int, words: int, readers: int = 4, writers: int = 3) -> None:
        if lanes < 1 or readers < 1 or writers < 1:
            raise ValueError(
                f"lanes, readers and writers must be positive, not {lanes}, {readers}, {writers}"
            )
        if not 1 <= words < 1 << ADDRESS_BITS:
            raise ValueError(f"words must lie in 1..{(1 << ADDRESS_BITS) - 1}, not {words}")
        self.lanes = lanes
        self.words = words
        self.readers = readers
        self.writers = writers
        super().__init__(
            {
                "read": In(token_read_port(lanes)).array(readers),
                "denied": Out(readers),
                "read_error": Out(readers),
                "write": In(stream.Signature(token_write_layout(lanes))).array(writers),
                "write_error": Out(writers),
                "trace": Out(token_trace_layout(lanes)),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=unsigned(self.lanes * 8), depth=self.words, init=[], attrs={"no_rw_check": 1}
        )
        read, write = memory.read_port(), memory.write_port(granularity=8)
        address_bits = ceil_log2(self.words)

        requests = Cat(port.request.valid for port in self.read)
        for i, port in enumerate(self.read):
            request = port.request
            m.d.comb += [
                request.ready.eq(~requests[:i].any()),
                self.denied[i].eq(request.valid & ~request.ready),
                self.read_error[i].eq(
                    request.valid & request.ready & (request.payload >= self.words)
                ),
                port.data.eq(read.data),
            ]
            m.d.sync += port.valid.eq(request.valid & request.ready)
        m.d.comb += read.en.eq(requests.any())
        for port in reversed(self.read):
            with m.If(port.request.valid):
                m.d.comb += read.addr.eq(port.request.payload[:address_bits])

        writes = Cat(client.valid for client in self.write)
        granted = Signal(token_write_layout(self.lanes))
        beyond = Signal()
        for client in reversed(self.write):
            with m.If(client.valid):
                m.d.comb += granted.eq(client.payload)
        for i, client in enumerate(self.write):
            m.d.comb += [
                client.ready.eq(~writes[:i].any()),
                self.write_error[i].eq(client.valid & client.ready & beyond),
            ]
        m.d.comb += [
            beyond.eq(granted.address >= self.words),
            self.trace.valid.eq(writes.any() & ~beyond),
            self.trace.pc.eq(granted.pc),
            self.trace.address.eq(granted.address),
            self.trace.mask.eq(granted.mask),
            self.trace.data.eq(granted.data),
            write.addr.eq(granted.address[:address_bits]),
            write.data.eq(granted.data),
            write.en.eq(granted.mask & self.trace.valid.replicate(self.lanes)),
        ]
        return m
