"""The serial link: a UART, the frame engine, and access to memory and registers."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.dma.axi import axi4_lite
from rtl_gen.link.frame_engine import FrameEngine
from rtl_gen.link.interfaces import word_port
from rtl_gen.link.register_port import RegisterPort
from rtl_gen.link.uart_receiver import UartReceiver
from rtl_gen.link.uart_sender import UartSender

__all__ = ["Link"]


class Link(wiring.Component):
    """What answers the requests of a host, see `spec.link`.

    Members
    -------
    rx, tx : the line
    active : bytes are on the line
    memory : 32-bit access to the board's memory
    registers : AXI4-Lite master of the machine
    status : low bits of the machine's STATUS, not older than `register_port.POLL_CYCLES` or a frame
    """

    def __init__(
        self, *, memory_bytes: int, clock_hz: int, cycles_per_bit: int, timeout_cycles: int
    ) -> None:
        if timeout_cycles < 10 * cycles_per_bit:
            raise ValueError(
                f"timeout_cycles must be a byte's time at least: {10 * cycles_per_bit}, "
                f"not {timeout_cycles}"
            )
        self._receiver = UartReceiver(cycles_per_bit=cycles_per_bit)
        self._sender = UartSender(cycles_per_bit=cycles_per_bit)
        self._engine = FrameEngine(memory_bytes=memory_bytes, timeout_cycles=timeout_cycles)
        self._port = RegisterPort(memory_bytes=memory_bytes, clock_hz=clock_hz)
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "active": Out(1),
                "memory": Out(word_port(len(self._engine.memory.address))),
                "registers": Out(axi4_lite(len(self._port.bus.araddr))),
                "status": Out(len(self._port.status)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        m.submodules.receiver = receiver = self._receiver
        m.submodules.sender = sender = self._sender
        m.submodules.engine = engine = self._engine
        m.submodules.register_port = port = self._port
        connect(m, engine.o, sender.i)
        connect(m, engine.registers, port.port)
        connect(m, engine.memory, flipped(self.memory))
        connect(m, port.bus, flipped(self.registers))
        m.d.comb += [
            receiver.rx.eq(self.rx),
            engine.i_valid.eq(receiver.o_valid),
            engine.i.eq(receiver.o),
            engine.active.eq(receiver.active),
            port.broken_frames.eq(engine.broken_frames),
            self.tx.eq(sender.tx),
            self.active.eq(receiver.active | sender.active),
            self.status.eq(port.status),
        ]
        return m
