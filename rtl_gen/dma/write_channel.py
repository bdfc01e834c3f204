"""AXI4 write master."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from rtl_gen.dma.axi import BURST_BEATS, TRANSFER, axi4_write
from rtl_gen.dma.burst_splitter import BurstSplitter

__all__ = ["WriteChannel"]


class WriteChannel(wiring.Component):
    """Writes transfers: bursts in order with a single id, several outstanding.

    Latency: a request's address appears on the bus after 2 cycles, data 1 cycle after they are
    taken. Throughput: one beat a cycle. Back-pressure: data are taken when a burst waits for them
    and the bus took the beat before.

    Do not reset it together with its client: with `abort`, bursts already announced are completed
    with beats that write nothing (`wstrb` 0) and their responses awaited; once `draining` is low
    it is as new.

    Members
    -------
    request : stream of TRANSFER
    data : the beats of all requests, in order
    done : all of a request is written and confirmed (a pulse a request)
    bus_error : an error response arrived (a pulse)
    abort : issue no burst, take no data; hold it until `draining` is low
    draining : anything announced is not yet confirmed
    bus : AW, W and B channels
    """

    def __init__(self, *, bus_bits: int, bursts: int = 8) -> None:
        self._bus_bits = bus_bits
        self._bursts = bursts
        super().__init__(
            {
                "request": In(stream.Signature(TRANSFER)),
                "data": In(stream.Signature(bus_bits)),
                "done": Out(1),
                "bus_error": Out(1),
                "abort": In(1),
                "draining": Out(1),
                "bus": Out(axi4_write(bus_bits)),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        bus = self.bus
        m.submodules.splitter = splitter = BurstSplitter(bus_bits=self._bus_bits)
        index_bits = ceil_log2(BURST_BEATS)
        m.submodules.lengths = lengths = SyncFIFO(width=index_bits, depth=self._bursts)
        m.submodules.responses = responses = SyncFIFO(width=1, depth=self._bursts)

        # Addresses
        burst = splitter.o.payload
        length = Signal(index_bits)
        connect(m, flipped(self.request), splitter.i)
        m.d.comb += [
            splitter.clear.eq(self.abort),
            length.eq(burst.beats - 1),
            splitter.o.ready.eq((~bus.awvalid | bus.awready) & lengths.w_rdy & responses.w_rdy),
            lengths.w_en.eq(splitter.o.valid & splitter.o.ready),
            lengths.w_data.eq(length),
            responses.w_en.eq(lengths.w_en),
            responses.w_data.eq(burst.last),
            bus.awid.eq(0),
            bus.awsize.eq(ceil_log2(self._bus_bits // 8)),
            bus.awburst.eq(1),
        ]
        with m.If(lengths.w_en):
            m.d.sync += [
                bus.awvalid.eq(1),
                bus.awaddr.eq(burst.address),
                bus.awlen.eq(length),
            ]
        with m.Elif(bus.awready):
            m.d.sync += bus.awvalid.eq(0)

        # Data, through a register: what is on the bus must stay when `abort` rises
        beat = Signal(index_bits)
        room = Signal()
        step = Signal()
        last = Signal()
        m.d.comb += [
            room.eq(lengths.r_rdy & (~bus.wvalid | bus.wready)),
            self.data.ready.eq(room & ~self.abort),
            step.eq(room & (self.data.valid | self.abort)),
            last.eq(beat == lengths.r_data),
            lengths.r_en.eq(step & last),
        ]
        with m.If(step):
            strobes = Const(-1, self._bus_bits // 8)
            m.d.sync += [
                bus.wvalid.eq(1),
                bus.wdata.eq(self.data.payload),
                bus.wstrb.eq(Mux(self.abort, 0, strobes)),
                bus.wlast.eq(last),
                beat.eq(Mux(last, 0, beat + 1)),
            ]
        with m.Elif(bus.wready):
            m.d.sync += bus.wvalid.eq(0)

        # Responses
        m.d.comb += [
            bus.bready.eq(responses.r_rdy),
            responses.r_en.eq(bus.bvalid & bus.bready),
            self.done.eq(responses.r_en & responses.r_data & ~self.abort),
            self.bus_error.eq(responses.r_en & bus.bresp[1] & ~self.abort),
            self.draining.eq(bus.awvalid | bus.wvalid | responses.r_rdy),
        ]
        return m
