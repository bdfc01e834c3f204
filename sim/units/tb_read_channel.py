"""Bench of `rtl_gen.dma.read_channel`: order, bandwidth, errors and abort, on two slaves."""

import random
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly

from rtl_gen.dma.axi import BURST_BEATS, TRANSFER, read_data_layout
from rtl_gen.dma.read_channel import ReadChannel
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, Source, check, check_all
from sim.units.axi_pauses import pause
from sim.units.axi_slave import ReadSlave

PARAMETERS = [{"bus_bits": 64}, {"bus_bits": 128}]

_MEMORY_BYTES = 1 << 16


def component(bus_bits: int) -> ReadChannel:
    """Build the unit under test."""
    return ReadChannel(bus_bits=bus_bits)


class _Bench:
    def __init__(self, dut: Any, seed: int, stall: float) -> None:
        self.dut, self.seed = dut, seed
        self.bus_bits = parameters()["bus_bits"]
        self.bytes = self.bus_bits // 8
        self.random = random.Random(seeded(seed))
        self.memory = bytearray(self.random.randbytes(_MEMORY_BYTES))
        self.requests = [
            Source(dut, f"request__{n}", TRANSFER, seed=seed, stall=stall) for n in (0, 1)
        ]
        layout = read_data_layout(self.bus_bits)
        self.data = [Sink(dut, f"data__{n}", layout, seed=seed, stall=stall) for n in (0, 1)]
        self.errors = 0
        cocotb.start_soon(self._count_errors())

    async def _count_errors(self) -> None:
        while True:
            await ReadOnly()
            self.errors += int(self.dut.bus_error.value)
            await cycles(self.dut)

    def ask(self, client: int, longest: int = 40) -> list[dict[str, int]]:
        """Queue a random request; returns its expected beats."""
        beats = self.random.choice((1, 2, self.random.randint(1, longest)))
        first = self.random.randrange(_MEMORY_BYTES // self.bytes - beats)
        self.requests[client].put({"address": first * self.bytes, "beats": beats})
        return [self.beat(first + i, last=i == beats - 1) for i in range(beats)]

    def beat(self, index: int, *, last: bool) -> dict[str, int]:
        word = self.memory[index * self.bytes : (index + 1) * self.bytes]
        return {"data": int.from_bytes(word, "little"), "last": int(last)}

    async def check(self, requests: int) -> None:
        expected: list[list[dict[str, int]]] = [[], []]
        for _ in range(requests):
            client = self.random.randrange(2)
            expected[client] += self.ask(client)
        for client in (0, 1):
            got = await self.data[client].receive(len(expected[client]))
            check_all(f"read_channel client {client}", got, expected[client], seed=self.seed)
        await cycles(self.dut, 3)
        assert not int(self.dut.draining.value), "draining with nothing outstanding"
        assert not any(sink.received for sink in self.data), "data nobody asked for"


@cocotb.test()
async def random_requests(dut: Any) -> None:
    """Every client gets its data, in order; bursts reach their full length."""
    await start(dut)
    bench = _Bench(dut, 1, 0.0)
    slave = ReadSlave(dut, "bus", bench.memory, bus_bits=bench.bus_bits, latency=9)
    await bench.check(60)
    check("read_channel errors", bench.errors, 0)
    check("read_channel longest burst", max(beats for _, beats in slave.bursts), BURST_BEATS)


@cocotb.test()
async def random_stalls(dut: Any) -> None:
    """The same with stalls on every channel."""
    await start(dut)
    bench = _Bench(dut, 2, 0.4)
    ReadSlave(dut, "bus", bench.memory, bus_bits=bench.bus_bits, latency=9, stall=0.4, seed=2)
    await bench.check(60)


@cocotb.test()
async def independent_model(dut: Any) -> None:
    """cocotbext-axi's memory, pausing at random, agrees."""
    from cocotbext.axi import AxiRamRead, AxiReadBus

    await start(dut)
    bench = _Bench(dut, 3, 0.2)
    ram = AxiRamRead(AxiReadBus.from_prefix(dut, "bus_"), dut.clk, dut.rst, size=_MEMORY_BYTES)
    ram.write(0, bytes(bench.memory))
    pause((ram.ar_channel, ram.r_channel), 0.3, 3)
    await bench.check(40)


@cocotb.test()
async def latency_is_hidden(dut: Any) -> None:
    """With 64 cycles of latency, a long transfer still gets a beat a cycle."""
    await start(dut)
    bench = _Bench(dut, 4, 0.0)
    ReadSlave(dut, "bus", bench.memory, bus_bits=bench.bus_bits, latency=64)
    bench.requests[1].put({"address": 0, "beats": 1000})
    await bench.data[1].receive(1)
    await cycles(dut, 999)
    check("read_channel beats in 999 cycles", len(bench.data[1].received), 999)


@cocotb.test()
async def error_response(dut: Any) -> None:
    """An error response is one pulse a beat; the data still pass."""
    await start(dut)
    bench = _Bench(dut, 5, 0.2)
    slave = ReadSlave(dut, "bus", bench.memory, bus_bits=bench.bus_bits, stall=0.2)
    slave.errors = {5 * bench.bytes, 30 * bench.bytes}
    bench.requests[0].put({"address": 0, "beats": 40})
    await bench.data[0].receive(40)
    check("read_channel errors", bench.errors, 2)


@cocotb.test()
async def abort(dut: Any) -> None:
    """Abort at any time drains what is outstanding; afterwards the channel is as new."""
    await start(dut)
    bench = _Bench(dut, 6, 0.1)
    slave = ReadSlave(dut, "bus", bench.memory, bus_bits=bench.bus_bits, latency=5, stall=0.3)
    for sink in bench.data:
        sink.check = False
    stopped_early = 0
    for _ in range(40):
        for client in (0, 1):
            bench.ask(client, longest=200)
        await cycles(dut, bench.random.randrange(60))
        dut.abort.value = 1
        await cycles(dut)
        bursts = len(slave.bursts)
        received = [len(sink.received) for sink in bench.data]
        stopped_early += int(dut.draining.value)
        waited = 0
        while int(dut.draining.value):
            await cycles(dut)
            waited += 1
            assert waited < 2000, "still draining"
        check("outstanding beats after draining", slave.outstanding, 0)
        assert len(slave.bursts) <= bursts + 1, "bursts issued while aborting"
        await cycles(dut, bench.random.randrange(10))
        check("data during the abort", [len(sink.received) for sink in bench.data], received)
        dut.abort.value = 0
        # A request the sources could not hand over during the abort is served now.
        while any(source.queue for source in bench.requests):
            await cycles(dut)
        await cycles(dut, 3)
        while int(dut.draining.value):
            await cycles(dut)
        await cycles(dut, 3)
        for sink in bench.data:
            sink.received.clear()
        await bench.check(3)
    assert stopped_early > 8, f"only {stopped_early} aborts had something to drain"
