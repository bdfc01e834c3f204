"""The whole DMA against cocotbext-axi's memory: DRAM to token memory and back, errors and abort."""

import random
from typing import Any

import cocotb
from amaranth.hdl import Cat, Module, ResetInserter
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.buffers.token_memory import TokenMemory
from rtl_gen.dma.axi import axi4, join
from rtl_gen.dma.fetcher import Fetcher
from rtl_gen.dma.loader import Loader
from rtl_gen.dma.read_channel import ReadChannel
from rtl_gen.dma.storer import Storer
from rtl_gen.dma.write_channel import WriteChannel
from rtl_gen.interfaces import ISSUED, WINDOWS
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, Source, check, check_all
from sim.units.axi_pauses import all_channels, pause
from sim.units.dma_cases import encode, set_windows
from spec.isa import INSTRUCTION_BYTES, Opcode, Window

PARAMETERS = [
    {"banks": 4, "lanes": 8, "bus_bits": 64, "vector_lanes": 4, "norm_lanes": 4},
    {"banks": 8, "lanes": 64, "bus_bits": 128, "vector_lanes": 16, "norm_lanes": 16},
]

_TOKEN_WORDS = 1024
_MEMORY_BYTES = 1 << 17
_WINDOWS = [(0x0, 0x1000), (0x1000, 0x1000), (0x4000, 0x4000), (0x8000, 0x4000), (0xC000, 0x4000)]


class _Dma(wiring.Component):
    """All DMA units with a token memory; the core is in reset while `running` is low."""

    def __init__(self, **sizes: int) -> None:
        self._sizes = sizes
        super().__init__(
            {
                "axi": Out(axi4(sizes["bus_bits"])),
                "windows": In(WINDOWS),
                "running": In(1),
                "begin": In(1),
                "load": In(stream.Signature(ISSUED)),
                "store": In(stream.Signature(ISSUED)),
                "instruction": Out(stream.Signature(ISSUED)),
                "gives": Out(2),
                "errors": Out(3),
                "bus_errors": Out(2),
                "draining": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        lanes, bus_bits = self._sizes["lanes"], self._sizes["bus_bits"]
        fetcher = Fetcher(bus_bits=bus_bits, depth=8)
        loader = Loader(**self._sizes, token_words=_TOKEN_WORDS)
        storer = Storer(lanes=lanes, bus_bits=bus_bits, token_words=_TOKEN_WORDS)
        tokens = TokenMemory(lanes=lanes, words=_TOKEN_WORDS, readers=1, writers=1)
        core_reset = ResetInserter(~self.running)
        m.submodules.fetcher = core_reset(fetcher)
        m.submodules.loader = core_reset(loader)
        m.submodules.storer = core_reset(storer)
        m.submodules.tokens = core_reset(tokens)
        m.submodules.read = read = ReadChannel(bus_bits=bus_bits)
        m.submodules.write = write = WriteChannel(bus_bits=bus_bits)
        join(m, self.axi, read=read.bus, write=write.bus)
        connect(m, fetcher.request, read.request[0])
        connect(m, fetcher.data, read.data[0])
        connect(m, loader.request, read.request[1])
        connect(m, loader.data, read.data[1])
        connect(m, storer.request, write.request)
        connect(m, storer.data, write.data)
        connect(m, loader.token_write, tokens.write[0])
        connect(m, storer.token_read, tokens.read[0])
        connect(m, flipped(self.instruction), fetcher.instruction)
        connect(m, flipped(self.load), loader.instruction)
        connect(m, flipped(self.store), storer.instruction)
        m.d.comb += [
            read.abort.eq(~self.running),
            write.abort.eq(~self.running),
            fetcher.start.eq(self.begin),
            fetcher.program.eq(self.windows[Window.PROGRAM.value]),
            loader.windows.eq(self.windows),
            storer.windows.eq(self.windows),
            storer.done.eq(write.done),
            loader.row_write.ready.eq(1),
            loader.column_write.ready.eq(1),
            loader.norm_write.ready.eq(1),
            self.gives.eq(Cat(loader.give.valid, storer.give.valid)),
            self.errors.eq(Cat(unit.error.valid for unit in (fetcher, loader, storer))),
            self.bus_errors.eq(Cat(read.bus_error, write.bus_error)),
            self.draining.eq(read.draining | write.draining),
            self.idle.eq(loader.idle & storer.idle),
        ]
        return m


def component(**sizes: int) -> _Dma:
    """Build the unit under test."""
    return _Dma(**sizes)


class _Bench:
    def __init__(self, dut: Any, seed: int, stall: float) -> None:
        from cocotbext.axi import AxiBus, AxiRam

        self.dut, self.seed = dut, seed
        self.random = random.Random(seeded(seed))
        self.lanes = parameters()["lanes"]
        self.ram = AxiRam(AxiBus.from_prefix(dut, "axi_"), dut.clk, dut.rst, size=_MEMORY_BYTES)
        self.ram.write(0, self.random.randbytes(0xC000))
        if stall:
            pause(all_channels(self.ram), stall, seed)
        self.load = Source(dut, "load", ISSUED)
        self.store = Source(dut, "store", ISSUED)
        self.instruction = Sink(dut, "instruction", ISSUED, stall=0.5, seed=seed, check=False)
        set_windows(dut, _WINDOWS)

    async def begin(self, program: list[int]) -> None:
        """Write the program and start."""
        text = b"".join(word.to_bytes(INSTRUCTION_BYTES, "little") for word in program)
        self.ram.write(0, text)
        self.dut.running.value = 1
        self.dut.begin.value = 1
        await cycles(self.dut)
        self.dut.begin.value = 0

    async def end(self) -> None:
        """Stop the core and let the bus drain."""
        self.dut.running.value = 0
        for _ in range(3000):
            await cycles(self.dut)
            if not int(self.dut.draining.value):
                return
        raise AssertionError("still draining after 3,000 cycles")

    async def give(self, bit: int) -> None:
        for _ in range(20_000):
            if int(self.dut.gives.value) >> bit & 1:
                return
            await cycles(self.dut)
        raise AssertionError(f"no credit {bit} within 20,000 cycles")

    async def copy(self, rows: int, words: int) -> None:
        """Load rows with gaps between them, store them with other gaps, compare the DRAM."""
        size = rows * words * self.lanes
        source = self.random.randrange((0x4000 - size) // 64 + 1) * 64
        target = self.random.randrange((0x4000 - size) // 64 + 1) * 64
        body = {"token": 3, "words": words, "stride": words + 1, "rows": rows}
        load = encode(Opcode.LOAD_TOKENS, offset=source, window=Window.INPUT, **body)
        store = encode(Opcode.STORE_TOKENS, offset=target, window=Window.RESULT, **body)
        self.ram.write(0xC000, bytes(0x4000))
        self.load.put({"pc": 0, "word": load})
        await self.give(0)
        self.store.put({"pc": 1, "word": store})
        await self.give(1)
        expected = bytearray(0x4000)
        expected[target : target + size] = self.ram.read(0x4000 + source, size)
        assert self.ram.read(0xC000, 0x4000) == expected, "the copy differs"


async def _copies(dut: Any, bench: _Bench, shapes: list[tuple[int, int]]) -> None:
    rng = bench.random
    program = [rng.getrandbits(256) & ~255 | Opcode.LIVE.value for _ in range(60)]
    program.append(encode(Opcode.HALT))
    await bench.begin(program)
    for rows, words in shapes:
        await bench.copy(rows, words)
    got = await bench.instruction.receive(len(program))
    expected = [{"pc": pc, "word": word} for pc, word in enumerate(program)]
    check_all("dma program", got, expected, seed=bench.seed)
    await cycles(dut)
    check("dma errors", int(dut.errors.value), 0)
    check("dma idle", int(dut.idle.value), 1)
    await bench.end()


@cocotb.test()
async def copies(dut: Any) -> None:
    """Fetch, load and store at once."""
    await start(dut)
    await _copies(dut, _Bench(dut, 1, 0.0), [(1, 1), (2, 3), (40, 5), (9, 20)])


@cocotb.test()
async def copies_with_pauses(dut: Any) -> None:
    """The same with a slow memory."""
    await start(dut)
    await _copies(dut, _Bench(dut, 2, 0.4), [(1, 1), (2, 3), (30, 4)])


@cocotb.test()
async def abort(dut: Any) -> None:
    """The core is reset at any time; the bus drains, and the next run is right."""
    await start(dut)
    bench = _Bench(dut, 3, 0.3)
    rng = bench.random
    body = {"token": 0, "words": 5, "stride": 5, "rows": 40}
    load = encode(Opcode.LOAD_TOKENS, window=Window.INPUT, **body)
    store = encode(Opcode.STORE_TOKENS, window=Window.SCRATCH, **body)
    drained = 0
    for _ in range(12):
        await bench.begin([rng.getrandbits(256) & ~255 | 7 for _ in range(60)])
        await bench.load.send([{"pc": 0, "word": load}])
        await bench.store.send([{"pc": 1, "word": store}])
        await cycles(dut, rng.randrange(150))
        drained += int(dut.draining.value)
        await bench.end()
    assert drained > 2, f"only {drained} aborts had something to drain"
    bench.instruction.received.clear()
    await _copies(dut, bench, [(7, 3)])


@cocotb.test()
async def error_responses(dut: Any) -> None:
    """Reads and writes beyond the memory are answered with SLVERR and drain."""
    from cocotbext.axi import AxiBus, AxiSlave, MemoryRegion

    class _Broken(MemoryRegion):
        async def _read(self, address: int, length: int) -> bytes:
            raise ValueError("no memory here")

        async def _write(self, address: int, data: bytes) -> None:
            raise ValueError("no memory here")

    await start(dut)
    AxiSlave(AxiBus.from_prefix(dut, "axi_"), dut.clk, dut.rst, target=_Broken(_MEMORY_BYTES))
    set_windows(dut, [(0, 0), *_WINDOWS[1:]])
    load = Source(dut, "load", ISSUED)
    store = Source(dut, "store", ISSUED)
    body = {"words": 5, "stride": 5, "rows": 40}
    for bit, source, opcode, window in (
        (0, load, Opcode.LOAD_TOKENS, Window.INPUT),
        (1, store, Opcode.STORE_TOKENS, Window.RESULT),
    ):
        dut.running.value = 1
        await cycles(dut)
        source.put({"pc": 0, "word": encode(opcode, window=window, **body)})
        for _ in range(500):
            if int(dut.bus_errors.value) >> bit & 1:
                break
            await cycles(dut)
        check("dma bus errors", int(dut.bus_errors.value), 1 << bit)
        dut.running.value = 0
        for _ in range(2000):
            await cycles(dut)
            if not int(dut.draining.value):
                break
        check("dma draining", int(dut.draining.value), 0)
