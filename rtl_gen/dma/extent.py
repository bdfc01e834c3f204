"""Turns an instruction's window, offset and size into a checked bus transfer."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from rtl_gen.dma.axi import TRANSFER
from rtl_gen.interfaces import WINDOWS
from spec.isa import Window

__all__ = ["BASE_ALIGNMENT", "EXTENT", "EXTENT_RESULT", "Extent"]

BASE_ALIGNMENT = 64
"""Bytes: a window's base must be a multiple of it."""
_SIZE_BITS = 20
"""Holds rows * words of every instruction (at most 4,095 * 255 words of `lanes` bytes)."""

EXTENT = data.StructLayout({"window": 3, "offset": 32, "rows": 17, "words": 8})
"""rows * words words of `lanes` bytes from byte `offset` of `window` on."""

EXTENT_RESULT = data.StructLayout({"transfer": TRANSFER, "bad": 1})
"""The transfer; `bad` when it is not within its window, or unaligned."""

_STORES = (Window.SCRATCH, Window.RESULT)


class Extent(wiring.Component):
    """Size by shift and add, then the window's bounds; one request at a time.

    Latency: 4 cycles plus one for each significant bit of `words`.
    Bad: an undefined window; with `writable`, one that is read-only; a base that is not a multiple
    of BASE_ALIGNMENT or an offset that is not one of the bus width; an end beyond the limit or
    beyond 4 GiB.

    Members
    -------
    windows : base and limit of every window
    i, o : streams of EXTENT and EXTENT_RESULT
    """

    def __init__(self, *, lanes: int, bus_bits: int, writable: bool = False) -> None:
        self._lanes = lanes
        self._bus_bits = bus_bits
        self._writable = writable
        super().__init__(
            {
                "windows": In(WINDOWS),
                "i": In(stream.Signature(EXTENT)),
                "o": Out(stream.Signature(EXTENT_RESULT)),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        bus_bytes = self._bus_bits // 8
        size = Signal(_SIZE_BITS)
        addend = Signal(_SIZE_BITS)
        words = Signal(8)
        offset = Signal(32)
        window = Signal(3)
        chosen = Signal(WINDOWS.elem_shape)
        end = Signal(33)
        result = Signal(EXTENT_RESULT)
        allowed = Signal()
        top = Signal(34)

        with m.Switch(window):
            for each in Window:
                with m.Case(each.value):
                    m.d.comb += allowed.eq(int(not self._writable or each in _STORES))
        m.d.comb += [
            self.o.payload.eq(result),
            top.eq(end + chosen.base),
        ]
        with m.FSM(name="extent"):
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [
                        size.eq(0),
                        addend.eq(self.i.p.rows),
                        words.eq(self.i.p.words),
                        offset.eq(self.i.p.offset),
                        window.eq(self.i.p.window),
                    ]
                    m.next = "SIZE"
            with m.State("SIZE"):
                m.d.sync += [
                    size.eq(size + Mux(words[0], addend, 0)),
                    addend.eq(addend << 1),
                    words.eq(words >> 1),
                ]
                with m.If(words[1:] == 0):
                    m.next = "SUM"
            with m.State("SUM"):
                m.d.sync += end.eq(offset + Cat(Const(0, ceil_log2(self._lanes)), size))
                with m.Switch(window):
                    for each in Window:
                        with m.Case(each.value):
                            m.d.sync += chosen.eq(self.windows[each.value])
                m.next = "CHECK"
            with m.State("CHECK"):
                unaligned = (
                    offset[: ceil_log2(bus_bytes)].any()
                    | chosen.base[: ceil_log2(BASE_ALIGNMENT)].any()
                )
                m.d.sync += [
                    result.transfer.address.eq(offset + chosen.base),
                    result.transfer.beats.eq(
                        Cat(Const(0, ceil_log2(self._lanes // bus_bytes)), size)
                    ),
                    result.bad.eq(~allowed | unaligned | (end > chosen.limit) | (top > 1 << 32)),
                ]
                m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
