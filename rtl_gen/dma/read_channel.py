"""AXI4 read master, shared by several clients."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from rtl_gen.dma.axi import TRANSFER, axi4_read, read_data_layout
from rtl_gen.dma.burst_splitter import BURST, BurstSplitter

__all__ = ["ReadChannel"]


class ReadChannel(wiring.Component):
    """Reads transfers for its clients: bursts in order with a single id, many outstanding.

    Client 0 goes first whenever a burst is issued. Latency: a request's address appears on the
    bus after 2 cycles; data pass without delay. Throughput: one beat a cycle, also with a memory
    latency of 64 cycles (up to `bursts` are outstanding). Back-pressure: a client that does not
    take its data stops all; it must not wait for another client's data.

    Do not reset it together with its clients: `abort` lets what is outstanding drain, as AXI
    demands, and clears the requests; once `draining` is low it is as new.

    Members
    -------
    request : one stream of TRANSFER a client
    data : one stream of beats a client
    bus_error, bus_error_client : a beat of that client arrived with an error response (a pulse)
    abort : issue no burst, discard all data; hold it until `draining` is low
    draining : a burst is outstanding or waits for its address to be accepted
    bus : AR and R channels
    """

    def __init__(self, *, bus_bits: int, clients: int = 2, bursts: int = 16) -> None:
        self._bus_bits = bus_bits
        self._clients = clients
        self._bursts = bursts
        super().__init__(
            {
                "request": In(stream.Signature(TRANSFER)).array(clients),
                "data": Out(stream.Signature(read_data_layout(bus_bits))).array(clients),
                "bus_error": Out(1),
                "bus_error_client": Out(range(max(clients, 2))),
                "abort": In(1),
                "draining": Out(1),
                "bus": Out(axi4_read(bus_bits)),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        bus = self.bus
        client_bits = len(self.bus_error_client)
        m.submodules.order = order = SyncFIFO(width=client_bits + 1, depth=self._bursts)

        # Addresses
        chosen = Signal(BURST)
        client = Signal(client_bits)
        any_valid = Signal()
        free = Signal()
        m.d.comb += free.eq((~bus.arvalid | bus.arready) & order.w_rdy & ~self.abort)
        splitters = []
        for number in range(self._clients):
            m.submodules[f"splitter_{number}"] = splitter = BurstSplitter(bus_bits=self._bus_bits)
            connect(m, flipped(self.request[number]), splitter.i)
            m.d.comb += splitter.clear.eq(self.abort)
            splitters.append(splitter)
        for number, splitter in reversed(list(enumerate(splitters))):
            with m.If(splitter.o.valid):
                m.d.comb += [chosen.eq(splitter.o.payload), client.eq(number), any_valid.eq(1)]
            m.d.comb += splitter.o.ready.eq(free & (client == number))
        m.d.comb += [
            order.w_en.eq(free & any_valid),
            order.w_data.eq((chosen.last << client_bits) | client),
            bus.arid.eq(0),
            bus.arsize.eq(ceil_log2(self._bus_bits // 8)),
            bus.arburst.eq(1),
        ]
        with m.If(free & any_valid):
            m.d.sync += [
                bus.arvalid.eq(1),
                bus.araddr.eq(chosen.address),
                bus.arlen.eq((chosen.beats - 1)[: len(chosen.beats)]),
            ]
        with m.Elif(bus.arready):
            m.d.sync += bus.arvalid.eq(0)

        # Data
        owner, ends = order.r_data[:client_bits], order.r_data[client_bits]
        ready = Signal()
        taken = Signal()
        for number, port in enumerate(self.data):
            mine = order.r_rdy & (owner == number)
            m.d.comb += [
                port.valid.eq(bus.rvalid & mine & ~self.abort),
                port.p.data.eq(bus.rdata),
                port.p.last.eq(bus.rlast & ends),
            ]
            with m.If(mine):
                m.d.comb += ready.eq(port.ready)
        m.d.comb += [
            bus.rready.eq(order.r_rdy & (ready | self.abort)),
            taken.eq(bus.rvalid & bus.rready),
            order.r_en.eq(taken & bus.rlast),
            self.bus_error.eq(taken & bus.rresp[1] & ~self.abort),
            self.bus_error_client.eq(Mux(self.bus_error, owner, 0)),
            self.draining.eq(bus.arvalid | order.r_rdy),
        ]
        return m
