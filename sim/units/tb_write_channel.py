"""Bench of `rtl_gen.dma.write_channel`: data, confirmation, errors and abort, on two slaves."""

import random
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly

from rtl_gen.dma.axi import TRANSFER
from rtl_gen.dma.write_channel import WriteChannel
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Source, check
from sim.units.axi_pauses import pause
from sim.units.axi_slave import WriteSlave

PARAMETERS = [{"bus_bits": 64}, {"bus_bits": 128}]

_MEMORY_BYTES = 1 << 16


def component(bus_bits: int) -> WriteChannel:
    """Build the unit under test."""
    return WriteChannel(bus_bits=bus_bits)


class _Bench:
    def __init__(self, dut: Any, seed: int, stall: float) -> None:
        self.dut, self.seed = dut, seed
        self.bus_bits = parameters()["bus_bits"]
        self.bytes = self.bus_bits // 8
        self.random = random.Random(seeded(seed))
        self.memory = bytearray(_MEMORY_BYTES)
        self.expected = bytearray(_MEMORY_BYTES)
        self.request = Source(dut, "request", TRANSFER, seed=seed, stall=stall)
        self.data = Source(dut, "data", self.bus_bits, seed=seed, stall=stall)
        self.done = self.errors = 0
        cocotb.start_soon(self._count())

    async def _count(self) -> None:
        while True:
            await ReadOnly()
            self.done += int(self.dut.done.value)
            self.errors += int(self.dut.bus_error.value)
            await cycles(self.dut)

    def put(self, longest: int = 40) -> int:
        """Queue a random request with its data; returns its beats."""
        beats = self.random.choice((1, 2, self.random.randint(1, longest)))
        first = self.random.randrange(_MEMORY_BYTES // self.bytes - beats) * self.bytes
        self.request.put({"address": first, "beats": beats})
        text = self.random.randbytes(beats * self.bytes)
        self.expected[first : first + len(text)] = text
        for at in range(0, len(text), self.bytes):
            self.data.put(int.from_bytes(text[at : at + self.bytes], "little"))
        return beats

    async def finish(self, requests: int, limit: int = 20_000) -> None:
        """Wait until `requests` more are done."""
        goal = self.done + requests
        for _ in range(limit):
            if self.done == goal:
                break
            await cycles(self.dut)
        await cycles(self.dut, 4)
        check("write_channel requests done", self.done, goal)
        assert not int(self.dut.draining.value), "draining with nothing outstanding"


@cocotb.test()
async def random_requests(dut: Any) -> None:
    """All data arrive; each request is confirmed once."""
    await start(dut)
    bench = _Bench(dut, 1, 0.0)
    WriteSlave(dut, "bus", bench.memory, bus_bits=bench.bus_bits, latency=9)
    for _ in range(60):
        bench.put()
    await bench.finish(60)
    assert bench.memory == bench.expected, "memory differs"


@cocotb.test()
async def random_stalls(dut: Any) -> None:
    """The same with stalls on every channel; a request is not done before it is written."""
    await start(dut)
    bench = _Bench(dut, 2, 0.4)
    WriteSlave(dut, "bus", bench.memory, bus_bits=bench.bus_bits, latency=3, stall=0.4)
    for _ in range(40):
        bench.put()
        await bench.finish(1)
        assert bench.memory == bench.expected, "done before the data were in memory"
    for _ in range(40):
        bench.put()
    await bench.finish(40)
    assert bench.memory == bench.expected, "memory differs"


@cocotb.test()
async def independent_model(dut: Any) -> None:
    """cocotbext-axi's memory, pausing at random, agrees."""
    from cocotbext.axi import AxiRamWrite, AxiWriteBus

    await start(dut)
    bench = _Bench(dut, 3, 0.2)
    ram = AxiRamWrite(AxiWriteBus.from_prefix(dut, "bus_"), dut.clk, dut.rst, size=_MEMORY_BYTES)
    pause((ram.aw_channel, ram.w_channel, ram.b_channel), 0.3, 3)
    for _ in range(40):
        bench.put()
    await bench.finish(40)
    assert ram.read(0, _MEMORY_BYTES) == bench.expected, "memory differs"


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """A long transfer writes a beat a cycle."""
    await start(dut)
    bench = _Bench(dut, 4, 0.0)
    slave = WriteSlave(dut, "bus", bench.memory, bus_bits=bench.bus_bits, latency=20)
    bench.request.put({"address": 0, "beats": 1000})
    bench.data.put(*range(1000))
    while not slave.written:
        await cycles(dut)
    await cycles(dut, 976)
    check("write_channel beats in 976 cycles", slave.written, 16 + 976)


@cocotb.test()
async def error_response(dut: Any) -> None:
    """An error response is one pulse a burst."""
    await start(dut)
    bench = _Bench(dut, 5, 0.2)
    slave = WriteSlave(dut, "bus", bench.memory, bus_bits=bench.bus_bits, stall=0.2)
    slave.errors = {16 * bench.bytes}
    bench.request.put({"address": 0, "beats": 40})
    bench.data.put(*range(40))
    await bench.finish(1)
    check("write_channel errors", bench.errors, 1)


@cocotb.test()
async def abort(dut: Any) -> None:
    """Abort at any time completes what is announced; nothing but given data is ever written."""
    await start(dut)
    bench = _Bench(dut, 6, 0.1)
    slave = WriteSlave(dut, "bus", bench.memory, bus_bits=bench.bus_bits, latency=5, stall=0.3)
    drained = 0
    for _ in range(40):
        # `data` is driven by hand: a core in reset drops what it offers.
        beats = bench.random.randint(1, 100)
        first = bench.random.randrange(_MEMORY_BYTES // bench.bytes - beats) * bench.bytes
        bench.memory[:] = bytes(_MEMORY_BYTES)
        slave.written = 0
        await bench.request.send([{"address": first, "beats": beats}])
        given = 0
        for _ in range(bench.random.randrange(120)):
            offer = given < beats and bench.random.random() < 0.8
            dut.data__valid.value = int(offer)
            dut.data__payload.value = given + 1
            await ReadOnly()
            given += int(offer and bool(dut.data__ready.value))
            await cycles(dut)
        dut.abort.value = 1
        dut.data__valid.value = 0
        done = bench.done
        await ReadOnly()
        drained += int(dut.draining.value)
        await cycles(dut)
        waited = 0
        while int(dut.draining.value):
            await cycles(dut)
            waited += 1
            assert waited < 2000, "still draining"
        check("write_channel done while aborting", bench.done, done)
        check("write_channel beats written", slave.written, given)
        assert not slave.addresses
        assert not slave.data
        assert not slave.responses
        for index in range(beats):
            at = first + index * bench.bytes
            word = int.from_bytes(bench.memory[at : at + bench.bytes], "little")
            check("write_channel word", word, index + 1 if index < given else 0, index=index)
        dut.abort.value = 0
        await cycles(dut)
    assert drained > 8, f"only {drained} aborts had something to drain"
    bench.memory[:] = bench.expected
    bench.put()
    await bench.finish(1)
    assert bench.memory == bench.expected, "not as new after aborts"
