"""The host's AXI4-Lite registers."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.dma.axi import axi4_lite
from rtl_gen.interfaces import PC_BITS, ROWS_BITS, WINDOWS
from spec.isa import Window
from spec.registers import (
    COUNTER_BITS,
    COUNTERS,
    MAGIC,
    REGISTERS,
    VERSION,
    Error,
    counter_address,
    window_address,
)

__all__ = ["DEFAULT_WATCHDOG_CYCLES", "Registers"]

_ADDRESS_BITS = 12
DEFAULT_WATCHDOG_CYCLES = 1_000_000


class Registers(wiring.Component):
    """The register map of `spec.registers` behind an AXI4-Lite slave.

    One read and one write at a time, each answered in the next cycle, always OKAY: reads of
    unknown addresses give 0, writes to them do nothing. Byte strobes are honoured. A read of a
    counter's low word latches its high word for the next read.

    Members
    -------
    bus : AXI4-Lite slave
    start : START was written while the machine was idle (a pulse)
    clear : CLEAR was written (a pulse); wins over START
    windows, watchdog : what the host wrote; no window and 1,000,000 cycles after reset
    interrupt : high in DONE and ERROR, if enabled
    busy, done, draining : STATUS bits
    error_valid, error_code, error_pc : STATUS bit, ERROR_CODE and ERROR_PC
    live_tokens : LIVE_TOKENS
    counters : in the order of `spec.registers.COUNTERS`
    """

    def __init__(self, *, config_digest: int) -> None:
        self._config_digest = config_digest
        super().__init__(
            {
                "bus": In(axi4_lite(_ADDRESS_BITS)),
                "start": Out(1),
                "clear": Out(1),
                "windows": Out(WINDOWS),
                "watchdog": Out(32, init=DEFAULT_WATCHDOG_CYCLES),
                "interrupt": Out(1),
                "busy": In(1),
                "done": In(1),
                "draining": In(1),
                "error_valid": In(1),
                "error_code": In(Error),
                "error_pc": In(PC_BITS),
                "live_tokens": In(ROWS_BITS),
                "counters": In(data.ArrayLayout(COUNTER_BITS, len(COUNTERS))),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        bus = self.bus
        enable = Signal()
        writable = {
            REGISTERS["INTERRUPT_ENABLE"]: enable,
            REGISTERS["WATCHDOG"]: self.watchdog,
        }
        for window in Window:
            base, limit = window_address(window)
            writable[base] = self.windows[window.value].base
            writable[limit] = self.windows[window.value].limit

        # Writes
        write = Signal()
        m.d.comb += [
            write.eq(bus.awvalid & bus.wvalid & (~bus.bvalid | bus.bready)),
            bus.awready.eq(write),
            bus.wready.eq(write),
            bus.bresp.eq(0),
        ]
        with m.If(write):
            m.d.sync += bus.bvalid.eq(1)
        with m.Elif(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        write_address = Cat(Const(0, 2), bus.awaddr[2:])
        idle = ~(self.busy | self.done | self.error_valid | self.draining)
        m.d.sync += [self.start.eq(0), self.clear.eq(0)]
        with m.If(write), m.Switch(write_address):
            for address, register in writable.items():
                target = Value.cast(register)
                with m.Case(address):
                    for byte in range(0, len(target), 8):
                        with m.If(bus.wstrb[byte // 8]):
                            m.d.sync += target[byte : byte + 8].eq(bus.wdata[byte : byte + 8])
            with m.Case(REGISTERS["CONTROL"]), m.If(bus.wstrb[0]):
                start_bit, clear_bit = bus.wdata[0], bus.wdata[1]
                m.d.sync += [
                    self.start.eq(start_bit & ~clear_bit & idle & ~self.start),
                    self.clear.eq(clear_bit),
                ]

        # Reads
        read = Signal()
        value = Signal(32)
        high = Signal(COUNTER_BITS - 32)
        status = Cat(self.busy, self.done, self.error_valid, self.draining)
        readable: dict[int, Value | int] = {
            REGISTERS["ID"]: MAGIC,
            REGISTERS["VERSION"]: VERSION,
            REGISTERS["CONFIG_DIGEST_LOW"]: self._config_digest & 0xFFFFFFFF,
            REGISTERS["CONFIG_DIGEST_HIGH"]: self._config_digest >> 32,
            REGISTERS["STATUS"]: status,
            REGISTERS["ERROR_CODE"]: Value.cast(self.error_code),
            REGISTERS["ERROR_PC"]: self.error_pc,
            REGISTERS["LIVE_TOKENS"]: self.live_tokens,
            **{address: Value.cast(register) for address, register in writable.items()},
        }
        m.d.comb += [
            read.eq(bus.arvalid & (~bus.rvalid | bus.rready)),
            bus.arready.eq(read),
            bus.rresp.eq(0),
        ]
        with m.Switch(Cat(Const(0, 2), bus.araddr[2:])):
            for address, content in readable.items():
                with m.Case(address):
                    m.d.comb += value.eq(content)
            for index, name in enumerate(COUNTERS):
                low = counter_address(name)
                with m.Case(low):
                    m.d.comb += value.eq(self.counters[index][:32])
                    with m.If(read):
                        m.d.sync += high.eq(self.counters[index][32:])
                with m.Case(low + 4):
                    m.d.comb += value.eq(high)
        with m.If(read):
            m.d.sync += [bus.rvalid.eq(1), bus.rdata.eq(value)]
        with m.Elif(bus.rready):
            m.d.sync += bus.rvalid.eq(0)

        m.d.comb += self.interrupt.eq(Mux(enable, self.done | self.error_valid, 0))
        return m
