"""Block RAM behind an AXI4 slave, with a second access for the link."""

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from amaranth.utils import ceil_log2

from rtl_gen.dma.axi import axi4
from rtl_gen.link.interfaces import word_port

__all__ = ["BANK_BEATS", "ImageMemory"]

BANK_BEATS = 2048
"""Length of an ECP5's block RAM that is 9 bits wide, so that each byte has its own strobe."""

_BURSTS = 8
"""Bursts taken at once, in each direction."""
_CREDITS = 4
"""Beats that are read and not yet taken: as many as a full rate needs."""
_DECERR = 3


class _Read(NamedTuple):
    """A read port: data of the address of two cycles before."""

    address: Signal
    data: Signal


class _Write(NamedTuple):
    """A write port: the bytes in `strobes` at the end of the cycle after."""

    address: Signal
    data: Signal
    strobes: Signal


class ImageMemory(wiring.Component):
    """A memory of `size_bytes` for the machine's AXI4 master and for the link.

    AXI4: aligned INCR bursts of full width, any id, answered in order; `wstrb` is honoured. A burst
    that reaches beyond the memory is answered with DECERR: on every beat, or on B, and then nothing
    of it is written. Latency: `LATENCY` cycles, as `spec.dram` counts them (preset `blockram`).
    Throughput: one beat a cycle in both directions. The link goes first and takes one cycle of the
    read or the write port for each word, some cycles apart. A read of what is written in
    the same cycle is undefined. Reset leaves the content. The blocks lie all over a chip: their
    write port and their data rest in registers on the way.

    Members
    -------
    bus : AXI4 slave
    link : 32-bit access, word 0 in the low half of the first beat; a write is
        done after 1 cycle, a read after 4
    """

    LATENCY = 3

    def __init__(
        self,
        *,
        bus_bits: int,
        size_bytes: int,
        content: bytes = b"",
        bank_beats: int = BANK_BEATS,
    ) -> None:
        beat_bytes = bus_bits // 8
        if size_bytes < 1 or size_bytes % beat_bytes:
            raise ValueError(
                f"size_bytes must be a positive multiple of {beat_bytes}, not {size_bytes}"
            )
        if len(content) > size_bytes:
            raise ValueError(f"{len(content)} bytes of content do not fit into {size_bytes}")
        if bank_beats < 1 or bank_beats & (bank_beats - 1):
            raise ValueError(f"bank_beats must be a power of two, not {bank_beats}")
        self._bank_beats = bank_beats
        self._bus_bits = bus_bits
        self._beats = size_bytes // beat_bytes
        padded = content.ljust(-(-len(content) // beat_bytes) * beat_bytes, b"\0")
        self._init = [
            int.from_bytes(padded[at : at + beat_bytes], "little")
            for at in range(0, len(padded), beat_bytes)
        ]
        super().__init__(
            {
                "bus": In(axi4(bus_bits)),
                "link": In(word_port(max((size_bytes // 4 - 1).bit_length(), 1))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        read, write = self._banks(m)
        part_bits = ceil_log2(self._bus_bits // 32)
        parts, index = self.link.address[:part_bits], self.link.address[part_bits:]
        asked = Signal()
        """The link's request, a cycle after it came: nothing else waits for where it comes from."""
        waits = Signal(range(4))
        """Cycles since a read of the link went to the memory."""
        m.d.sync += asked.eq(self.link.valid & ~asked & (waits == 0))
        self._reads(m, read, asked & ~self.link.write, waits, parts, index)
        self._writes(m, write, asked & self.link.write, parts, index)
        m.d.comb += self.link.done.eq((waits == 3) | (asked & self.link.write))
        return m

    def _banks(self, m: Module) -> tuple[_Read, _Write]:
        """Banks of a block RAM's length side by side, behind one read and one write port.

        Left to itself, synthesis may choose the widest shape of a block RAM, which is the
        shortest one, and spend hundreds of LUTs on the multiplexer behind it.
        """
        index_bits = max(ceil_log2(self._beats), 1)
        bank_bits = min(ceil_log2(self._bank_beats), index_bits)
        read = _Read(Signal(index_bits), Signal(self._bus_bits))
        write = _Write(Signal(index_bits), Signal(self._bus_bits), Signal(self._bus_bits // 8))
        chosen = Signal(index_bits - bank_bits)
        """Bank whose word comes now."""
        word = Signal(self._bus_bits)
        late = _Write(*(Signal.like(port) for port in write))
        m.d.sync += [
            chosen.eq(read.address[bank_bits:]),
            read.data.eq(word),
            *(port.eq(value) for port, value in zip(late, write, strict=True)),
        ]
        for number, first in enumerate(range(0, self._beats, self._bank_beats)):
            memory = Memory(
                shape=unsigned(self._bus_bits),
                depth=min(self._bank_beats, self._beats - first),
                init=self._init[first : first + self._bank_beats],
                attrs={"no_rw_check": 1},
            )
            m.submodules[f"bank{number}"] = memory
            reads, writes = memory.read_port(), memory.write_port(granularity=8)
            here = late.address[bank_bits:] == number
            m.d.comb += [
                reads.en.eq(1),
                reads.addr.eq(read.address),
                writes.addr.eq(late.address),
                writes.data.eq(late.data),
                writes.en.eq(Mux(here, late.strobes, 0)),
            ]
            with m.If(chosen == number):
                m.d.comb += word.eq(reads.data)
        return read, write

    def _burst(self, address: Signal, length: Signal) -> tuple[data.Layout, dict]:
        """Layout and content of a burst in a queue: first beat, length, whether it is there."""
        index_bits = max(ceil_log2(self._beats), 1)
        layout = data.StructLayout({"index": index_bits, "length": 8, "id": 1, "beyond": 1})
        first = address[ceil_log2(self._bus_bits // 8) :]
        return layout, {
            "index": first[:index_bits],
            "length": length,
            "beyond": first[index_bits:].any() | (first[:index_bits] + length >= self._beats),
        }

    def _queue(self, m: Module, name: str, channel: str) -> tuple[SyncFIFO, data.View]:
        """Queue of the bursts that arrive on channel `ar` or `aw`, and its first one."""
        port = {key: getattr(self.bus, channel + key) for key in ("addr", "len", "id", "valid")}
        ready = getattr(self.bus, f"{channel}ready")
        layout, content = self._burst(port["addr"], port["len"])
        m.submodules[name] = queue = SyncFIFO(width=layout.size, depth=_BURSTS)
        entered = Signal(layout)
        m.d.comb += [entered[key].eq(value) for key, value in content.items()]
        m.d.comb += [
            entered.id.eq(port["id"]),
            queue.w_data.eq(entered),
            queue.w_en.eq(port["valid"] & ready),
        ]
        head = Signal(layout)
        m.d.comb += head.eq(queue.r_data)
        return queue, head

    def _reads(
        self,
        m: Module,
        read: _Read,
        link_issues: Value,
        link_waits: Signal,
        parts: Signal,
        index: Signal,
    ) -> None:
        """Read bursts into a short queue of beats before the bus; the link between them."""
        bus, link = self.bus, self.link
        bursts, head = self._queue(m, "read_bursts", "ar")
        open_bursts = Signal(range(_BURSTS + 1))
        """Bursts whose last beat is not on the bus yet."""
        m.d.comb += bus.arready.eq(open_bursts != _BURSTS)

        # Issue
        credits = Signal(range(_CREDITS + 1), init=_CREDITS)
        issues = Signal()
        beat, first = Signal(8), Signal(init=1)
        following = Signal.like(head.index)
        # Word 0 for those that are not there: a value that simulators know
        here = Mux(head.beyond, 0, Mux(first, head.index, following))
        last = beat == head.length
        m.d.comb += [
            issues.eq(bursts.r_rdy & (credits != 0) & ~link_issues),
            bursts.r_en.eq(issues & last),
            read.address.eq(Mux(link_issues, index, here)),
        ]
        with m.If(issues):
            m.d.sync += [beat.eq(Mux(last, 0, beat + 1)), first.eq(last), following.eq(here + 1)]

        # What the memory gives two cycles later
        tag = data.StructLayout({"id": 1, "beyond": 1, "last": 1})
        reading, arrives = Signal(), Signal()
        read_tag, arrived = Signal(tag), Signal(tag)
        m.d.sync += [
            reading.eq(issues),
            read_tag.eq(Cat(head.id, head.beyond, last)),
            arrives.eq(reading),
            arrived.eq(read_tag),
        ]

        # Beats: the first one is on the bus
        layout = data.StructLayout({"data": self._bus_bits, "tag": tag})
        beats = [Signal(layout, name=f"beat{n}") for n in range(_CREDITS)]
        valid = Signal(_CREDITS)
        taken = Signal()
        new = Signal(layout)
        m.d.comb += [
            taken.eq(bus.rvalid & bus.rready),
            new.data.eq(read.data),
            new.tag.eq(arrived),
            bus.rvalid.eq(valid[0]),
            bus.rdata.eq(beats[0].data),
            bus.rid.eq(beats[0].tag.id),
            bus.rresp.eq(Mux(beats[0].tag.beyond, _DECERR, 0)),
            bus.rlast.eq(beats[0].tag.last),
        ]
        for n in range(_CREDITS):
            behind = valid[n + 1] if n + 1 < _CREDITS else 0
            before = valid[n - 1] if n else 1
            with m.If(Mux(taken, behind, valid[n])):
                m.d.sync += valid[n].eq(1)
                if n + 1 < _CREDITS:
                    with m.If(taken):
                        m.d.sync += beats[n].eq(beats[n + 1])
            with m.Else():
                m.d.sync += [
                    valid[n].eq(arrives & Mux(taken, valid[n] | (n == 0), before)),
                    beats[n].eq(new),
                ]
        m.d.sync += credits.eq(credits + taken - issues)

        # A burst is over when its last beat comes to the bus
        ends = Signal()
        with m.If(~valid[0] | taken):
            m.d.comb += ends.eq(Mux(valid[1], beats[1].tag.last, arrives & arrived.last))
        m.d.sync += open_bursts.eq(open_bursts + (bus.arvalid & bus.arready) - ends)

        # The link's word
        chosen = Signal.like(parts) if len(parts) else None
        words = data.ArrayLayout(32, self._bus_bits // 32)(read.data)
        with m.If(link_issues):
            m.d.sync += link_waits.eq(1)
            if chosen is not None:
                m.d.sync += chosen.eq(parts)
        with m.Elif(link_waits != 0):
            m.d.sync += link_waits.eq(link_waits + 1)
        with m.If(link_waits == 2):
            m.d.sync += link.value.eq(words[0] if chosen is None else words[chosen])

    def _writes(
        self, m: Module, write: _Write, link_writes: Value, parts: Signal, index: Signal
    ) -> None:
        """Write bursts beat by beat, each after its address; the link between them."""
        bus, link = self.bus, self.link
        bursts, head = self._queue(m, "write_bursts", "aw")
        open_bursts = Signal(range(_BURSTS + 1))
        """Bursts whose response is not on the bus yet."""
        writes, ended, ends = Signal(), Signal(), Signal()
        first, following = Signal(init=1), Signal.like(head.index)
        here = Mux(first, head.index, following)
        strobes = Mux(head.beyond, 0, bus.wstrb)
        m.d.comb += [
            bus.awready.eq(open_bursts != _BURSTS),
            bus.wready.eq(bursts.r_rdy & ~link_writes),
            writes.eq(bus.wvalid & bus.wready),
            bursts.r_en.eq(writes & bus.wlast),
            write.address.eq(Mux(link_writes, index, here)),
        ]
        lanes = 4 * (parts if len(parts) else 0)
        with m.If(link_writes):
            m.d.comb += [
                write.data.eq(link.data.replicate(self._bus_bits // 32)),
                write.strobes.eq(0b1111 << lanes),
            ]
        with m.Else():
            m.d.comb += [write.data.eq(bus.wdata), write.strobes.eq(Mux(writes, strobes, 0))]
        with m.If(writes):
            m.d.sync += [first.eq(bus.wlast), following.eq(here + 1)]

        # Responses: LATENCY cycles behind the last beat
        m.submodules.responses = responses = SyncFIFO(width=2, depth=_BURSTS)
        of_last, response = Signal(2), Signal(2)
        m.d.sync += [
            ended.eq(writes & bus.wlast),
            of_last.eq(Cat(head.id, head.beyond)),
            ends.eq(ended),
            response.eq(of_last),
        ]
        free = ~bus.bvalid | bus.bready
        m.d.comb += [
            responses.w_en.eq(ends),
            responses.w_data.eq(response),
            responses.r_en.eq(free),
        ]
        with m.If(free):
            m.d.sync += [
                bus.bvalid.eq(responses.r_rdy),
                bus.bid.eq(responses.r_data[0]),
                bus.bresp.eq(Mux(responses.r_data[1], _DECERR, 0)),
            ]
        m.d.sync += open_bursts.eq(
            open_bursts + (bus.awvalid & bus.awready) - (free & responses.r_rdy)
        )
