"""The whole accelerator: core, bus channels, host registers and counters, with plain port names."""

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect

from rtl_gen.core import Core
from rtl_gen.core_events import counter_sizes
from rtl_gen.dma.axi import axi4, axi4_lite
from rtl_gen.dma.fetcher import Fetcher
from rtl_gen.dma.read_channel import ReadChannel
from rtl_gen.dma.write_channel import WriteChannel
from rtl_gen.host.counters import Counters
from rtl_gen.host.registers import Registers
from rtl_gen.host.run_control import RunControl
from rtl_gen.trace import trace_layout
from spec.config import Config
from spec.isa import Window
from spec.registers import Error

__all__ = ["Top"]

FETCH, LOAD = 0, 1
"""Clients of the read channel; the fetcher has priority."""


class Top(wiring.Component):
    """AXI4 master `m_axi_*`, AXI4-Lite slave `s_axil_*`, `interrupt`, and trace ports `trace_*`.

    The trace ports report every write of a result, so that a test can compare tensors that never
    leave the chip; they change no timing, and synthesis drops them when left unconnected.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        master = axi4(config.bus_bits).members
        slave = axi4_lite(12).flip().members
        members = {f"m_axi_{name}": member for name, member in master.items()}
        members |= {f"s_axil_{name}": member for name, member in slave.items()}
        members["interrupt"] = Out(1)
        for kind, layout in trace_layout(config).items():
            members |= {
                f"trace_{kind}_{field}": Out(shape) for field, shape in layout.members.items()
            }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        config = self._config
        core = Core(config)
        m.submodules.run = run = RunControl()
        # behind a GATE the program goes on in a fresh core, with what the fetcher has read ahead
        fresh = ~run.running | core.restart if config.effort_gate else ~run.running
        m.submodules.core = ResetInserter(fresh)(core)
        fetcher = Fetcher(bus_bits=config.bus_bits, depth=config.queue_depth)
        m.submodules.fetcher = ResetInserter(~run.running)(fetcher)
        m.submodules.read_channel = reads = ReadChannel(bus_bits=config.bus_bits)
        m.submodules.write_channel = writes = WriteChannel(bus_bits=config.bus_bits)
        m.submodules.registers = registers = Registers(config_digest=config.digest())
        m.submodules.counters = counters = Counters(
            bits=config.counter_bits, **counter_sizes(config)
        )

        connect(m, fetcher.request, reads.request[FETCH])
        connect(m, reads.data[FETCH], fetcher.data)
        connect(m, fetcher.instruction, core.instruction)
        connect(m, core.read_request, reads.request[LOAD])
        connect(m, reads.data[LOAD], core.read_data)
        connect(m, core.write_request, writes.request)
        connect(m, core.write_data, writes.data)
        for bus in (reads.bus, writes.bus):
            self._expose(m, "m_axi_", bus, axi4(config.bus_bits).members)
        self._expose(m, "s_axil_", registers.bus, axi4_lite(12).flip().members)

        m.d.comb += [
            core.begin.eq(run.begin),
            core.running.eq(run.running),
            core.windows.eq(registers.windows),
            core.written.eq(writes.done),
            fetcher.start.eq(run.begin),
            fetcher.stop.eq(core.stop_fetch),
            fetcher.program.eq(registers.windows[Window.PROGRAM.value]),
            core.fetch_error.eq(fetcher.error),
            core.program_bytes.eq(fetcher.program_bytes),
            reads.abort.eq(~run.running),
            writes.abort.eq(~run.running),
            run.start.eq(registers.start),
            run.clear.eq(registers.clear),
            run.finished.eq(core.finished),
            run.watchdog.eq(registers.watchdog),
            run.pc.eq(core.pc),
            run.draining.eq(reads.draining | writes.draining),
            registers.busy.eq(run.running),
            registers.done.eq(run.done),
            registers.error_valid.eq(run.error.valid),
            registers.error_code.eq(run.error.code),
            registers.error_pc.eq(run.error.pc),
            registers.draining.eq(run.draining),
            self.interrupt.eq(registers.interrupt),
            counters.clear.eq(run.begin),
            counters.events.eq(core.events),
            registers.counters.eq(counters.values),
        ]
        m.d.sync += run.progress.eq(core.progress)  # late in its cycle
        # The core forgets its live-token register at the end; the host may want to read it.
        with m.If(run.running):
            m.d.sync += registers.live_tokens.eq(core.live)

        m.d.comb += run.failure.eq(core.error)
        with m.If(reads.bus_error):
            m.d.comb += [
                run.failure.valid.eq(1),
                run.failure.code.eq(Error.BUS_READ),
                run.failure.pc.eq(core.load_pc),
            ]
            with m.If(reads.bus_error_client == FETCH):
                m.d.comb += run.failure.pc.eq(fetcher.instruction.p.pc)
        with m.Elif(writes.bus_error):
            m.d.comb += [
                run.failure.valid.eq(1),
                run.failure.code.eq(Error.BUS_WRITE),
                run.failure.pc.eq(core.store_pc),
            ]
        for kind, layout in trace_layout(config).items():
            for field in layout.members:
                port = getattr(self, f"trace_{kind}_{field}")
                m.d.comb += port.eq(getattr(core, f"trace_{kind}")[field])
        return m

    def _expose(self, m: Module, prefix: str, bus: object, members: dict) -> None:
        """Connect the members of `bus` to the ports of the same name behind `prefix`."""
        for name, member in members.items():
            if not hasattr(bus, name):
                continue
            port, inner = getattr(self, prefix + name), getattr(bus, name)
            m.d.comb += port.eq(inner) if member.flow == Out else inner.eq(port)
