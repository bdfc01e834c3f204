"""A trivial stream component: exercises `sim.bench` and `sim.streams` under both simulators."""

from typing import Any

import cocotb
from amaranth.hdl import Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from sim.bench import cycles, parameters, start
from sim.streams import Sink, Source, check_all, read, write

PARAMETERS = [{"bits": 8}, {"bits": 13}]


def _input(bits: int) -> data.StructLayout:
    return data.StructLayout({"values": data.ArrayLayout(signed(bits), 2), "tag": 3})


def _output(bits: int) -> data.StructLayout:
    return data.StructLayout({"sum": signed(bits + 1), "tag": 3})


class Adder(wiring.Component):
    """One register stage; `offset` is added, `array__0__valid` names a nested port."""

    def __init__(self, *, bits: int) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(_input(bits))),
                "o": Out(stream.Signature(_output(bits))),
                "array": Out(stream.Signature(data.StructLayout({"count": 8}))).array(2),
                "offset": In(data.StructLayout({"low": signed(2), "unused": 1})),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Elastic register."""
        m = Module()
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
        with m.If(self.i.ready & self.i.valid):
            values = self.i.payload.values
            m.d.sync += [
                self.o.payload.sum.eq(values[0] + values[1] + self.offset.low),
                self.o.payload.tag.eq(self.i.payload.tag),
            ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.array[1].payload.count.eq(self.array[1].payload.count + 1)
        m.d.comb += self.array[1].valid.eq(1)
        return m


def component(*, bits: int) -> wiring.Component:
    """The component under test."""
    return Adder(bits=bits)


async def _run(dut: Any, stall_in: float, stall_out: float, seed: int) -> None:
    bits = parameters()["bits"]
    await start(dut)
    write(dut, "offset", data.StructLayout({"low": signed(2), "unused": 1}), {"low": -1})
    source = Source(dut, "i", _input(bits), seed=seed, stall=stall_in)
    sink = Sink(dut, "o", _output(bits), seed=seed, stall=stall_out)
    top = (1 << bits - 1) - 1
    pairs = [(top, top), (-top - 1, -top - 1)]
    pairs += [
        (source.random.randint(-top, top), source.random.randint(-top, top)) for _ in range(200)
    ]
    source.put(*({"values": pair, "tag": index % 8} for index, pair in enumerate(pairs)))
    got = await sink.receive(len(pairs))
    limit = 1 << bits
    wrapped = [((a + b - 1 + limit) % (2 * limit)) - limit for a, b in pairs]
    expected = [{"sum": value, "tag": index % 8} for index, value in enumerate(wrapped)]
    check_all("adder", got, expected, seed=seed)
    await cycles(dut)
    count = read(dut, "array__1__payload", data.StructLayout({"count": 8}))
    assert count == {"count": len(pairs) % 256}


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """Full speed."""
    await _run(dut, 0.0, 0.0, 1)


@cocotb.test()
async def with_stalls(dut: Any) -> None:
    """Both sides stall."""
    await _run(dut, 0.4, 0.6, 2)
