"""The link's access to registers: the machine's over AXI4-Lite, and the board's own."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.dma.axi import axi4_lite
from rtl_gen.link.frame_engine import REGISTER_WORDS
from rtl_gen.link.interfaces import word_port
from spec.link import BOARD_REGISTERS, LINK_MAGIC, LINK_VERSION
from spec.registers import REGISTERS, Status

__all__ = ["POLL_CYCLES", "RegisterPort"]

_ADDRESS_BITS = (REGISTER_WORDS - 1).bit_length()
_BOARD_FROM = min(BOARD_REGISTERS.values()) // 4
POLL_CYCLES = 1024
"""Most cycles between two looks at STATUS."""


class RegisterPort(wiring.Component):
    """Words of the register space; the upper half is the board's (`spec.link.BOARD_REGISTERS`).

    Of the board's, those that are not there read as 0, and writes do nothing. While nobody asks,
    the machine's STATUS is read every POLL_CYCLES, which changes nothing in the machine, for
    `status`. Latency: 2 cycles for the board's registers, for the machine's what its AXI4-Lite
    takes and 1 more.

    Members
    -------
    port : the link's access
    bus : AXI4-Lite master
    broken_frames : content of BROKEN_FRAMES
    status : low bits of STATUS when it was last read
    """

    def __init__(self, *, memory_bytes: int, clock_hz: int) -> None:
        self._constants = {
            "LINK_ID": LINK_MAGIC,
            "LINK_VERSION": LINK_VERSION,
            "MEMORY_BYTES": memory_bytes,
            "CLOCK_HZ": clock_hz,
        }
        super().__init__(
            {
                "port": In(word_port(_ADDRESS_BITS)),
                "bus": Out(axi4_lite(_ADDRESS_BITS + 2)),
                "broken_frames": In(32),
                "status": Out(sum(status.value for status in Status).bit_length()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        port, bus = self.port, self.bus
        poll = Signal(range(POLL_CYCLES))
        polls = Signal()
        board = Signal(32)
        contents = {**self._constants, "BROKEN_FRAMES": self.broken_frames}
        with m.Switch(port.address):
            for name, address in BOARD_REGISTERS.items():
                with m.Case(address // 4):
                    m.d.sync += board.eq(contents[name])
            with m.Default():
                m.d.sync += board.eq(0)
        m.d.comb += [
            bus.wstrb.eq(-1),
            bus.wdata.eq(port.data),
            bus.awaddr.eq(Cat(Const(0, 2), port.address)),
            bus.araddr.eq(Cat(Const(0, 2), port.address)),
            port.value.eq(bus.rdata),
        ]
        with m.If(polls):
            m.d.comb += bus.araddr.eq(REGISTERS["STATUS"])

        m.d.sync += poll.eq(poll + 1)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(port.valid):
                    m.d.sync += polls.eq(0)
                    with m.If(port.address >= _BOARD_FROM):
                        m.next = "BOARD"
                    with m.Elif(port.write):
                        m.d.sync += [bus.awvalid.eq(1), bus.wvalid.eq(1)]
                        m.next = "WRITE"
                    with m.Else():
                        m.d.sync += bus.arvalid.eq(1)
                        m.next = "READ"
                with m.Elif(poll == 0):
                    m.d.sync += [polls.eq(1), bus.arvalid.eq(1)]
                    m.next = "READ"
            with m.State("BOARD"):
                m.d.comb += [port.done.eq(1), port.value.eq(board)]
                m.next = "IDLE"
            with m.State("READ"):
                m.d.comb += bus.rready.eq(1)
                with m.If(bus.arready):
                    m.d.sync += bus.arvalid.eq(0)
                with m.If(bus.rvalid):
                    m.d.comb += port.done.eq(~polls)
                    m.next = "IDLE"
                    with m.If(polls):
                        m.d.sync += self.status.eq(bus.rdata)
            with m.State("WRITE"):
                m.d.comb += bus.bready.eq(1)
                with m.If(bus.awready):
                    m.d.sync += bus.awvalid.eq(0)
                with m.If(bus.wready):
                    m.d.sync += bus.wvalid.eq(0)
                with m.If(bus.bvalid):
                    m.d.comb += port.done.eq(1)
                    m.next = "IDLE"
        return m
