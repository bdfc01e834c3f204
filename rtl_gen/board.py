"""The machine with a serial link and its memory on the chip: all that a small board needs."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from rtl_gen.dma.axi import axi4, axi4_lite
from rtl_gen.link.image_memory import ImageMemory
from rtl_gen.link.link import Link
from rtl_gen.link.no_machine import NoMachine
from rtl_gen.top import Top
from spec.config import Config
from spec.link import TIMEOUT_S
from spec.registers import Status

__all__ = ["Board"]

_BLINKS_A_SECOND = 16
LINK_BITS = 64
"""Width of the memory of a board without a machine."""


class Board(wiring.Component):
    """The machine, a memory in block RAM, and the link of `spec.link` on two wires.

    config : the machine; None leaves it out, and its registers read as 0
    memory_bytes : size of the memory, a multiple of the bus's width
    clock_hz : frequency of the clock, for CLOCK_HZ, the default time-out and `activity`
    cycles_per_bit : of the serial line, at least 4
    timeout_cycles : silence that ends a broken frame; TIMEOUT_S if not given
    content : what the memory holds after configuration; reset does not bring it back

    Members
    -------
    rx, tx : serial line, 1 when idle
    busy, done, error : the machine's state; follows within `register_port.POLL_CYCLES` and a frame
    activity : high while bytes are on the line and a little longer, so that an eye sees it
    """

    def __init__(
        self,
        config: Config | None,
        *,
        memory_bytes: int,
        clock_hz: int,
        cycles_per_bit: int,
        timeout_cycles: int | None = None,
        content: bytes = b"",
    ) -> None:
        if timeout_cycles is None:
            timeout_cycles = max(round(clock_hz * TIMEOUT_S), 10 * cycles_per_bit)
        self._config = config
        self._blink_cycles = clock_hz // _BLINKS_A_SECOND
        self._link = Link(
            memory_bytes=memory_bytes,
            clock_hz=clock_hz,
            cycles_per_bit=cycles_per_bit,
            timeout_cycles=timeout_cycles,
        )
        self._memory = ImageMemory(
            bus_bits=config.bus_bits if config else LINK_BITS,
            size_bytes=memory_bytes,
            content=content,
        )
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "busy": Out(1),
                "done": Out(1),
                "error": Out(1),
                "activity": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        m.submodules.link = link = self._link
        m.submodules.image_memory = memory = self._memory
        connect(m, link.memory, memory.link)
        if self._config is None:
            m.submodules.machine = nothing = NoMachine()
            connect(m, link.registers, nothing.bus)
        else:
            self._connect_machine(m, self._config)

        lit = Signal(range(self._blink_cycles + 1))
        with m.If(link.active):
            m.d.sync += lit.eq(self._blink_cycles)
        with m.Else():
            m.d.sync += lit.eq(Mux(lit == 0, 0, lit - 1))
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            self.activity.eq(link.active | (lit != 0)),
        ]
        for port, status in (
            (self.busy, Status.BUSY),
            (self.done, Status.DONE),
            (self.error, Status.ERROR),
        ):
            m.d.comb += port.eq((link.status & status.value) != 0)
        return m

    def _connect_machine(self, m: Module, config: Config) -> None:
        m.submodules.machine = machine = Top(config)
        for prefix, bus, members in (
            ("m_axi_", self._memory.bus, axi4(config.bus_bits).members),
            ("s_axil_", self._link.registers, axi4_lite(12).flip().members),
        ):
            for name, member in members.items():
                port, outer = getattr(machine, prefix + name), getattr(bus, name)
                m.d.comb += outer.eq(port) if member.flow == Out else port.eq(outer)
