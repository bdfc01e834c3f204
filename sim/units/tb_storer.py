"""Bench of `rtl_gen.dma.storer`: data, transfers, credits after the responses, every error."""

import random
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly

from rtl_gen.dma.axi import TRANSFER
from rtl_gen.dma.storer import Storer
from rtl_gen.interfaces import GIVE, ISSUED
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, Source, check, check_all, unpack
from sim.units.dma_cases import encode, expect_error, reset, set_windows
from spec.isa import Opcode, Window
from spec.registers import Error

PARAMETERS = [
    {"lanes": 8, "bus_bits": 64},
    {"lanes": 16, "bus_bits": 64, "token_selector": True},
    {"lanes": 64, "bus_bits": 128},
]

_TOKEN_WORDS = 2048
_LIVE = 9
"""The live-token register, on a machine with a token selector."""
_WINDOWS = [(0, 4096), (0, 4096), (0, 4096), (0x10000, 0x8000), (0x40000, 0x1000)]


def component(**parameters: Any) -> Storer:
    """Build the unit under test."""
    return Storer(token_words=_TOKEN_WORDS, **parameters)


class _Bench:
    def __init__(self, dut: Any, seed: int, stall: float) -> None:
        self.dut, self.seed, self.stall = dut, seed, stall
        self.random = random.Random(seeded(seed))
        self.lanes = parameters()["lanes"]
        self.bus_bytes = parameters()["bus_bits"] // 8
        self.tokens = [self.random.getrandbits(self.lanes * 8) for _ in range(_TOKEN_WORDS)]
        self.instruction = Source(dut, "instruction", ISSUED, seed=seed, stall=stall)
        self.request = Sink(dut, "request", TRANSFER, seed=seed, stall=stall)
        self.data = Sink(dut, "data", parameters()["bus_bits"], seed=seed, stall=stall)
        self.reads: list[int] = []
        self.gives: list[tuple[int, int]] = []
        """(mask, instructions confirmed before)"""
        self.bytes = {"scratch": 0, "result": 0}
        set_windows(dut, _WINDOWS)
        if parameters().get("token_selector"):
            dut.live.value = _LIVE
        cocotb.start_soon(self._token_memory())
        cocotb.start_soon(self._watch())

    async def _token_memory(self) -> None:
        """Grant at random; data come in the next cycle, garbage in every other."""
        answer: int | None = None
        while True:
            ready = self.random.random() >= self.stall
            self.dut.token_read__request__ready.value = int(ready)
            self.dut.token_read__valid.value = int(answer is not None)
            garbage = self.random.getrandbits(self.lanes * 8)
            self.dut.token_read__data.value = garbage if answer is None else self.tokens[answer]
            await ReadOnly()
            answer = None
            if ready and int(self.dut.token_read__request__valid.value):
                answer = int(self.dut.token_read__request__payload.value)
                self.reads.append(answer)
            await cycles(self.dut)

    async def _watch(self) -> None:
        confirmed = 0
        while True:
            await ReadOnly()
            confirmed += int(self.dut.done.value)
            give = unpack(GIVE, int(self.dut.give.value))
            if give["valid"]:
                self.gives.append((give["mask"], confirmed))
            for name in self.bytes:
                self.bytes[name] += int(getattr(self.dut, f"{name}_bytes").value)
            await cycles(self.dut)

    def beats(self, words: list[int]) -> list[int]:
        bits, mask = self.bus_bytes * 8, (1 << self.bus_bytes * 8) - 1
        return [word >> at & mask for word in words for at in range(0, self.lanes * 8, bits)]

    async def _without_rows(self) -> None:
        """A store of live rows that are not alive: nothing but its credits."""
        first, signal = self.random.choice((_LIVE, _LIVE + 1, 4095)), self.random.getrandbits(16)
        fields = {"offset": 1, "words": 3, "rows": 5, "live": 1, "first": first}
        word = encode(Opcode.STORE_TOKENS, {"signal": signal}, **fields)
        given = len(self.gives)
        self.instruction.put({"pc": 99, "word": word})
        await self.instruction.drained()
        await cycles(self.dut, 2)
        check("storer without rows", [give for give, _ in self.gives[given:]], [signal])
        check("storer idle", int(self.dut.idle.value), 1)
        self.gives.pop()

    async def run(self, count: int) -> None:
        """Execute random instructions and compare everything."""
        rng = self.random
        for index in range(count):
            rows, words = rng.randint(1, 6), rng.randint(1, 5)
            window = rng.choice((Window.SCRATCH, Window.RESULT))
            stride = rng.randint(words, 60)
            token = rng.choice((0, _TOKEN_WORDS - (rows - 1) * stride - words))
            base, limit = _WINDOWS[window.value]
            size = rows * words * self.lanes
            top = (limit - size) // self.bus_bytes
            offset = rng.choice((0, top, rng.randint(0, top))) * self.bus_bytes
            signal = rng.getrandbits(16)
            before = dict(self.bytes)
            field: dict[str, int] = {"rows": rows}
            if parameters().get("token_selector") and index % 2:
                await self._without_rows()
                field = rng.choice(
                    (
                        {"rows": rows, "live": 1, "first": rng.randint(0, _LIVE - rows)},
                        {"rows": rng.choice((rows, 4095)), "live": 1, "first": _LIVE - rows},
                        {"rows": rows, "live": 0, "first": 4095},
                    )
                )
            word = encode(
                Opcode.STORE_TOKENS,
                {"signal": signal},
                offset=offset,
                window=window,
                token=token,
                words=words,
                stride=stride,
                **field,
            )
            self.instruction.put({"pc": index, "word": word})
            got = await self.request.receive(1)
            beats = size // self.bus_bytes
            check("storer transfer", got, [{"address": base + offset, "beats": beats}])
            addresses = [token + r * stride + w for r in range(rows) for w in range(words)]
            data = await self.data.receive(beats)
            check_all("storer", data, self.beats([self.tokens[a] for a in addresses]))
            check("storer reads", self.reads, addresses, index=index)
            self.reads.clear()
            await cycles(self.dut, rng.randrange(20))
            check("storer gives before the response", len(self.gives), index)
            check("storer idle before the response", int(self.dut.idle.value), 0)
            self.dut.done.value = 1
            await cycles(self.dut)
            self.dut.done.value = 0
            await cycles(self.dut)
            check("storer give", self.gives[index:], [(signal, index + 1)])
            check("storer idle", int(self.dut.idle.value), 1)
            before[window.name.lower()] += size
            check("storer bytes", self.bytes, before)


@cocotb.test()
async def random_stores(dut: Any) -> None:
    """Stores of many shapes without stalls."""
    await start(dut)
    await _Bench(dut, 1, 0.0).run(25)


@cocotb.test()
async def random_stalls(dut: Any) -> None:
    """The same with stalls on every stream and read."""
    await start(dut)
    await _Bench(dut, 2, 0.4).run(25)


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """When reads are granted, a beat goes out every cycle."""
    await start(dut)
    bench = _Bench(dut, 3, 0.0)
    body = {"window": Window.SCRATCH, "words": 8, "stride": 8, "rows": 20}
    bench.instruction.put({"pc": 0, "word": encode(Opcode.STORE_TOKENS, **body)})
    await bench.data.receive(1)
    before = bench.data.transfers
    await cycles(dut, 150)
    check("storer beats", bench.data.transfers - before, 150)


@cocotb.test()
async def errors(dut: Any) -> None:
    """Each error by itself: code, pc, nothing requested, nothing read."""
    await start(dut)
    bench = _Bench(dut, 4, 0.1)
    good = {"rows": 1, "words": 1, "window": Window.SCRATCH, "stride": 1}
    store = Opcode.STORE_TOKENS
    some = {"index": 1, "valid": 1}
    cases: list[tuple[Error, Opcode, dict[str, Any], dict[str, Any]]] = [
        (Error.OPERAND, store, {}, {**good, "rows": 0}),
        (Error.OPERAND, store, {}, {**good, "words": 0}),
        (Error.OPERAND, store, {"token_wait": some}, good),
        (Error.OPERAND, store, {"token_signal": some}, good),
        (Error.WINDOW, store, {}, {**good, "offset": 0x8000}),
        (Error.WINDOW, store, {}, {**good, "offset": 4}),
        (Error.WINDOW, store, {}, {**good, "rows": 4095, "words": 255}),
        (Error.OPCODE, Opcode.LOAD_NORM, {}, {}),
    ]
    for window in (Window.PROGRAM, Window.WEIGHTS, Window.INPUT, 5, 6, 7):
        cases.append((Error.WINDOW, store, {}, {**good, "window": window}))
    for pc, (code, opcode, header, body) in enumerate(cases):
        bench.instruction.put({"pc": pc, "word": encode(opcode, header, **body)})
        await expect_error(dut, f"storer {body}", code, pc)
        await cycles(dut, 5)
        check("storer requests", len(bench.request.received), 0)
        check("storer reads", bench.reads, [])
        await reset(dut)


@cocotb.test()
async def token_address(dut: Any) -> None:
    """Words up to the end are read, the one beyond stops all."""
    await start(dut)
    bench = _Bench(dut, 5, 0.1)
    body = {"rows": 3, "words": 2, "window": Window.RESULT, "stride": 11}
    word = encode(Opcode.STORE_TOKENS, token=_TOKEN_WORDS - 13, **body)
    bench.instruction.put({"pc": 77, "word": word})
    await expect_error(dut, "storer", Error.TOKEN_ADDRESS, 77)
    await cycles(dut, 20)
    first = _TOKEN_WORDS - 13
    check("storer reads", bench.reads, [first, first + 1, first + 11, first + 12])
    check("storer gives", bench.gives, [])
