"""A stand-in for the machine: copies the INPUT window to the RESULT window, plus one a byte.

It has the ports of `sievit_top` and the few registers a run needs, so that the harness and
`sim.machine` are tested without the machine.
"""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sim.ports import top_ports
from spec.config import Config
from spec.isa import Window
from spec.registers import MAGIC, REGISTERS, VERSION, Error, counter_address, window_address

__all__ = ["CopyMachine", "verilog"]


class CopyMachine(wiring.Component):
    """Reads and writes single bursts of `burst` beats; a bus error ends in the error state."""

    def __init__(self, config: Config, *, burst: int = 8) -> None:
        self.config, self.burst = config, burst
        super().__init__(
            {
                name: (Out if output else In)(width)
                for name, width, output in top_ports(config)
                if name not in ("clk", "rst")
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Registers, then one state machine."""
        m = Module()
        step = self.burst * self.config.bus_bytes
        start, clear = Signal(), Signal()
        registers: dict[int, Any] = {
            REGISTERS["ID"]: Const(MAGIC, 32),
            REGISTERS["VERSION"]: Const(VERSION, 32),
            REGISTERS["CONFIG_DIGEST_LOW"]: Const(self.config.digest() & 0xFFFFFFFF, 32),
            REGISTERS["CONFIG_DIGEST_HIGH"]: Const(self.config.digest() >> 32, 32),
        }
        writable = {}
        for window in (Window.INPUT, Window.RESULT):
            for address in window_address(window):
                writable[address] = Signal(32, name=f"window_{address:x}")
        enable = writable[REGISTERS["INTERRUPT_ENABLE"]] = Signal(32)
        status = registers[REGISTERS["STATUS"]] = Signal(4)
        error = registers[REGISTERS["ERROR_CODE"]] = Signal(8)
        cycles = registers[counter_address("cycles")] = Signal(32)
        registers |= writable
        self._slave(m, registers, writable, start, clear)

        m.d.comb += self.interrupt.eq((status[1] | status[2]) & enable[0])
        source = writable[window_address(Window.INPUT)[0]]
        target, limit = (writable[address] for address in window_address(Window.RESULT))
        offset, beat = Signal(32), Signal(range(self.burst + 1))
        memory = [Signal(self.config.bus_bits, name=f"beat_{n}") for n in range(self.burst)]
        held = Signal(self.config.bus_bits)
        size = (self.config.bus_bytes - 1).bit_length()
        m.d.comb += [
            self.m_axi_araddr.eq(source + offset),
            self.m_axi_awaddr.eq(target + offset),
            Cat(self.m_axi_arlen, self.m_axi_awlen).eq((self.burst - 1) * 0x101),
            Cat(self.m_axi_arsize, self.m_axi_awsize).eq(size * 9),
            Cat(self.m_axi_arburst, self.m_axi_awburst).eq(5),
            self.m_axi_wstrb.eq(~0),
            self.m_axi_wdata.eq(held),
            self.m_axi_wlast.eq(beat == self.burst - 1),
        ]
        with m.If(status[0]):
            m.d.sync += cycles.eq(cycles + 1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [offset.eq(0), beat.eq(0)]
                with m.If(clear):
                    m.d.sync += [status.eq(0), error.eq(0)]
                with m.Elif(start):
                    m.d.sync += [status.eq(1), cycles.eq(0)]
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += self.m_axi_arvalid.eq(1)
                with m.If(self.m_axi_arready):
                    m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += self.m_axi_rready.eq(1)
                with m.If(self.m_axi_rvalid):
                    m.d.sync += beat.eq(beat + 1)
                    for n, word in enumerate(memory):
                        parts = [
                            (self.m_axi_rdata.word_select(k, 8) + 1)[:8]
                            for k in range(self.config.bus_bytes)
                        ]
                        with m.If(beat == n):
                            m.d.sync += word.eq(Cat(*parts))
                    with m.If(self.m_axi_rresp != 0):
                        m.d.sync += error.eq(Error.BUS_READ)
                    with m.If(self.m_axi_rlast):
                        m.d.sync += beat.eq(0)
                        m.next = "ADDRESS"
            with m.State("ADDRESS"):
                with m.If(error != 0):
                    m.d.sync += status.eq(4)
                    m.next = "IDLE"
                with m.Else():
                    m.d.comb += self.m_axi_awvalid.eq(1)
                    with m.If(self.m_axi_awready):
                        m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += self.m_axi_wvalid.eq(1)
                for n, word in enumerate(memory):
                    with m.If(beat == n):
                        m.d.comb += held.eq(word)
                with m.If(self.m_axi_wready):
                    m.d.comb += [self.trace_token_valid.eq(1), self.trace_token_pc.eq(5)]
                    m.d.comb += self.trace_token_address.eq(offset + beat)
                    m.d.comb += [self.trace_token_data.eq(held), self.trace_token_mask.eq(~0)]
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(self.m_axi_wlast):
                        m.next = "RESPONSE"
            with m.State("RESPONSE"):
                m.d.comb += self.m_axi_bready.eq(1)
                with m.If(self.m_axi_bvalid):
                    m.d.sync += [offset.eq(offset + step), beat.eq(0)]
                    with m.If(self.m_axi_bresp != 0):
                        m.d.sync += [error.eq(Error.BUS_WRITE), status.eq(4)]
                        m.next = "IDLE"
                    with m.Elif(offset + step >= limit):
                        m.d.sync += status.eq(2)
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "READ"
        return m

    def _slave(
        self, m: Module, registers: dict, writable: dict, start: Signal, clear: Signal
    ) -> None:
        """AXI4-Lite, one access at a time."""
        both = self.s_axil_awvalid & self.s_axil_wvalid & ~self.s_axil_bvalid
        m.d.comb += Cat(self.s_axil_awready, self.s_axil_wready).eq(both.replicate(2))
        with m.If(self.s_axil_bready):
            m.d.sync += self.s_axil_bvalid.eq(0)
        with m.If(both):
            m.d.sync += self.s_axil_bvalid.eq(1)
            for address, register in writable.items():
                with m.If(self.s_axil_awaddr == address):
                    m.d.sync += register.eq(self.s_axil_wdata)
            with m.If(self.s_axil_awaddr == REGISTERS["CONTROL"]):
                m.d.comb += Cat(start, clear).eq(self.s_axil_wdata[:2])
        m.d.comb += self.s_axil_arready.eq(~self.s_axil_rvalid)
        with m.If(self.s_axil_rready):
            m.d.sync += self.s_axil_rvalid.eq(0)
        with m.If(self.s_axil_arvalid & self.s_axil_arready):
            m.d.sync += [self.s_axil_rvalid.eq(1), self.s_axil_rdata.eq(0)]
            for address, register in registers.items():
                with m.If(self.s_axil_araddr == address):
                    m.d.sync += self.s_axil_rdata.eq(register)


def verilog(config: Config) -> str:
    """Emit it as module `sievit_top`."""
    from amaranth.back import verilog as back

    return back.convert(CopyMachine(config), name="sievit_top", emit_src=False)
