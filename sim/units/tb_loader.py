"""Bench of `rtl_gen.dma.loader`: every write, every credit and its time, every error."""

import random
from collections import deque
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly

from rtl_gen.dma.loader import Loader
from rtl_gen.interfaces import (
    GIVE,
    GIVE_TOKEN,
    ISSUED,
    row_write_layout,
    table_write_layout,
    token_write_layout,
)
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, Source, check, check_all, unpack
from sim.units.dma_cases import Dram, encode, expect_error, reset, set_windows
from spec.isa import Opcode, Window
from spec.registers import Error

PARAMETERS = [
    {"banks": 4, "lanes": 8, "bus_bits": 64, "vector_lanes": 4, "norm_lanes": 4},
    {
        "banks": 8,
        "lanes": 16,
        "bus_bits": 64,
        "vector_lanes": 4,
        "norm_lanes": 2,
        "head_groups": 3,
        "token_selector": True,
    },
    {"banks": 8, "lanes": 64, "bus_bits": 128, "vector_lanes": 16, "norm_lanes": 16},
    {"banks": 8, "lanes": 16, "bus_bits": 128, "vector_lanes": 4, "norm_lanes": 16},
]

_SIZES = {"row_words": 512, "token_words": 4096, "column_tables": 8, "norm_tables": 16}
_MEMORY_BYTES = 1 << 17
_LIVE = 7
"""The live-token register, on a machine with a token selector."""
_STREAMS = ("row_write", "token_write", "column_write", "norm_write")
_WINDOWS = [
    (0, 1 << 12),
    (1 << 12, 1 << 15),
    (1 << 16, 1 << 14),
    (3 << 15, 1 << 14),
    (0, 1 << 10),
]


def component(**sizes: int) -> Loader:
    """Build the unit under test."""
    return Loader(**sizes, **_SIZES)


class _Model:
    """The writes and credits that instructions make, in order."""

    def __init__(self, memory: bytes) -> None:
        self.memory = memory
        self.writes: dict[str, list[dict[str, Any]]] = {name: [] for name in _STREAMS}
        self.groups: dict[str, list[int]] = {"row_write": [], "column_write": []}
        """head group of each of these writes that LOAD_WEIGHTS makes"""
        self.gives: list[tuple[int, tuple[int, ...]]] = []
        self.gives_token: list[tuple[int, tuple[int, ...]]] = []

    def _counts(self) -> tuple[int, ...]:
        return tuple(len(self.writes[name]) for name in _STREAMS)

    def _entries(self, at: int, count: int) -> list[dict[str, int]]:
        entries = []
        for entry in range(at, at + 8 * count, 8):
            text = self.memory[entry : entry + 8]
            entries.append(
                {
                    "addend": int.from_bytes(text[:4], "little", signed=True),
                    "multiplier": int.from_bytes(text[4:6], "little"),
                    "shift": text[6] & 63,
                }
            )
        return entries

    def _table(self, stream: str, at: int, address: int, words: int, width: int) -> int:
        for word in range(words):
            data = self._entries(at, width)
            self.writes[stream].append({"address": address + word, "data": data})
            at += 8 * width
        return at

    def _word(self, at: int) -> int:
        return int.from_bytes(self.memory[at : at + parameters()["lanes"]], "little")

    def run(self, pc: int, opcode: Opcode, header: dict[str, Any], body: dict[str, Any]) -> None:
        p = parameters()
        banks, lanes = p["banks"], p["lanes"]
        at = _WINDOWS[body.get("window", Window.WEIGHTS).value][0] + body["offset"]
        if opcode is Opcode.LOAD_WEIGHTS and body["live_above"] >= _LIVE:
            pass
        elif opcode is Opcode.LOAD_WEIGHTS:
            words = lanes // p["vector_lanes"]
            for group in range(1 + body["further_groups"]):
                address = body["table"] * words
                at = self._table("column_write", at, address, words, p["vector_lanes"])
                self.groups["column_write"] += [group] * words
                self.groups["row_write"] += [group] * body["depth"]
                for k in range(body["depth"]):
                    address = body["row"] + k // banks
                    self.writes["row_write"].append(
                        {"bank": k % banks, "address": address, "data": self._word(at), "pc": pc}
                    )
                    at += lanes
        elif opcode is Opcode.LOAD_NORM:
            words = body["channels"] // p["norm_lanes"]
            address = body["table"] * (lanes // p["norm_lanes"])
            self._table("norm_write", at, address, words, p["norm_lanes"])
        else:
            rows = body["rows"]
            if body.get("live"):
                rows = min(max(_LIVE - body["first"], 0), rows)
            for t in range(rows):
                for w in range(body["words"]):
                    address = body["token"] + t * body["stride"] + w
                    data, mask = self._word(at), (1 << lanes) - 1
                    self.writes["token_write"].append(
                        {"address": address, "data": data, "mask": mask, "pc": pc}
                    )
                    at += lanes
                token_signal = header.get("token_signal", {"valid": 0})
                if token_signal["valid"]:
                    self.gives_token.append((token_signal["index"], self._counts()))
        self.gives.append((header.get("signal", 0), self._counts()))


class _Bench:
    def __init__(self, dut: Any, seed: int, stall: float) -> None:
        self.dut, self.seed = dut, seed
        self.random = random.Random(seeded(seed))
        p = parameters()
        self.bus_bytes = p["bus_bits"] // 8
        self.memory = self.random.randbytes(_MEMORY_BYTES)
        self.dram = Dram(dut, self.memory, bus_bits=p["bus_bits"], seed=seed, stall=stall)
        self.instruction = Source(dut, "instruction", ISSUED, seed=seed, stall=stall)
        layouts = {
            "row_write": row_write_layout(p["banks"], p["lanes"]),
            "token_write": token_write_layout(p["lanes"]),
            "column_write": table_write_layout(p["vector_lanes"]),
            "norm_write": table_write_layout(p["norm_lanes"]),
        }
        self.sinks = {
            name: Sink(dut, name, layout, seed=seed, stall=stall)
            for name, layout in layouts.items()
        }
        self.gives: deque[tuple[int, tuple[int, ...]]] = deque()
        self.gives_token: deque[tuple[int, tuple[int, ...]]] = deque()
        self.groups: dict[str, list[int]] = {"row_write": [], "column_write": []}
        self.bytes = dict.fromkeys(("program", "weights", "input", "scratch", "result"), 0)
        self.error = 0
        set_windows(dut, _WINDOWS)
        if p.get("token_selector"):
            dut.live.value = _LIVE
        cocotb.start_soon(self._watch())

    async def _watch(self) -> None:
        """Record credits, each with the number of writes taken so far on every stream."""
        written = dict.fromkeys(_STREAMS, 0)
        while True:
            await ReadOnly()
            for name in _STREAMS:
                port = self.dut
                valid = int(getattr(port, f"{name}__valid").value)
                taken = valid and int(getattr(port, f"{name}__ready").value)
                written[name] += taken
                if name in self.groups and taken:
                    group = getattr(port, name.replace("write", "group"), None)
                    self.groups[name].append(0 if group is None else int(group.value))
            give = unpack(GIVE, int(self.dut.give.value))
            if give["valid"]:
                self.gives.append((give["mask"], tuple(written.values())))
            give_token = unpack(GIVE_TOKEN, int(self.dut.give_token.value))
            if give_token["valid"]:
                self.gives_token.append((give_token["index"], tuple(written.values())))
            for name in self.bytes:
                self.bytes[name] += int(getattr(self.dut, f"{name}_bytes").value)
            self.error |= int(self.dut.error.value) & 1
            await cycles(self.dut)

    def instruction_of(self, opcode: Opcode) -> tuple[dict[str, Any], dict[str, Any]]:
        """Random header and body of a good instruction."""
        rng, p = self.random, parameters()
        lanes = p["lanes"]
        header: dict[str, Any] = {"signal": rng.getrandbits(16)}
        if opcode is Opcode.LOAD_WEIGHTS:
            depth = rng.choice((1, rng.randint(1, 40)))
            body = {
                "depth": depth,
                "row": rng.choice((rng.randrange(400), 512 - -(-depth // p["banks"]))),
                "table": rng.randrange(8),
                "further_groups": rng.randrange(p.get("head_groups", 1)),
                "live_above": 0,
            }
            if p.get("token_selector"):
                body["live_above"] = rng.choice((0, 0, 1, _LIVE - 1, _LIVE, 4095))
            size, limit = (depth + 8) * lanes * (1 + body["further_groups"]), 1 << 15
        elif opcode is Opcode.LOAD_NORM:
            blocks = rng.randint(1, 4)
            body = {"channels": blocks * lanes, "table": rng.randint(0, 16 - blocks)}
            size, limit = blocks * lanes * 8, 1 << 15
        else:
            rows, words = rng.randint(1, 6), rng.randint(1, 5)
            window = rng.choice((Window.INPUT, Window.SCRATCH))
            stride = rng.randint(words, 100)
            body = {"rows": rows, "words": words, "stride": stride, "window": window}
            body["token"] = rng.choice((0, 4096 - (rows - 1) * stride - words))
            if p.get("token_selector"):
                body |= {
                    "live": rng.randrange(2),
                    "first": rng.choice((0, 3, _LIVE - 1, _LIVE, 99)),
                }
            header["token_signal"] = {"index": rng.randrange(16), "valid": rng.randrange(2)}
            size, limit = rows * words * lanes, 1 << 14
        top = (limit - size) // self.bus_bytes
        body["offset"] = rng.choice((0, top, rng.randint(0, top))) * self.bus_bytes
        return header, body

    async def run(self, count: int, opcodes: tuple[Opcode, ...]) -> None:
        """Execute random instructions and compare everything."""
        model = _Model(self.memory)
        for pc in range(count):
            opcode = self.random.choice(opcodes)
            header, body = self.instruction_of(opcode)
            model.run(pc, opcode, header, body)
            self.instruction.put({"pc": pc, "word": encode(opcode, header, **body)})
        for name in _STREAMS:
            got = await self.sinks[name].receive(len(model.writes[name]))
            check_all(f"loader {name}", got, model.writes[name], seed=self.seed)
        await cycles(self.dut, 4)
        check("loader groups", self.groups, model.groups, seed=self.seed)
        check_all("loader gives", self.gives, model.gives, seed=self.seed)
        check_all("loader gives_token", self.gives_token, model.gives_token, seed=self.seed)
        check("loader error", self.error, 0)
        check("loader idle", int(self.dut.idle.value), 1)
        for name in _STREAMS:
            check(f"loader spare {name}", len(self.sinks[name].received), 0)
        asked = [0] * len(_WINDOWS)
        for address, beats in self.dram.transfers:
            window = next(i for i in (3, 2, 1) if address >= _WINDOWS[i][0])
            asked[window] += beats * self.bus_bytes
        check("loader bytes", list(self.bytes.values()), asked)


_LOADS = (Opcode.LOAD_WEIGHTS, Opcode.LOAD_TOKENS, Opcode.LOAD_NORM)


def _count() -> int:
    """Instructions of a random run: fewer where Icarus has wide words to move."""
    return 60 if parameters()["lanes"] < 64 else 15


@cocotb.test()
async def random_loads(dut: Any) -> None:
    """Mixed loads without stalls."""
    await start(dut)
    await _Bench(dut, 1, 0.0).run(_count(), _LOADS)


@cocotb.test()
async def random_stalls(dut: Any) -> None:
    """Mixed loads with stalls on every stream."""
    await start(dut)
    await _Bench(dut, 2, 0.4).run(_count(), _LOADS)


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """When writes are accepted, data are taken every cycle, also between instructions."""
    await start(dut)
    bench = _Bench(dut, 3, 0.0)
    bench.dram.latency.randrange = lambda _: 0
    count, beats = 12, (24 + 8) * parameters()["lanes"] // bench.bus_bytes
    for pc in range(count):
        word = encode(Opcode.LOAD_WEIGHTS, depth=24, table=pc % 8)
        bench.instruction.put({"pc": pc, "word": word})
    while bench.dram.data.transfers < 2:
        await cycles(dut)
    before = bench.dram.data.transfers
    await cycles(dut, beats * (count - 1))
    check("loader beats", bench.dram.data.transfers - before, beats * (count - 1))


@cocotb.test()
async def errors(dut: Any) -> None:
    """Each error by itself: code, pc, nothing requested (but for TOKEN_ADDRESS)."""
    await start(dut)
    bench = _Bench(dut, 4, 0.1)
    lanes = parameters()["lanes"]
    weights, tokens, norm = _LOADS
    wait = {"token_wait": {"index": 1, "valid": 1}}
    signal = {"token_signal": {"index": 1, "valid": 1}}
    row = {"rows": 1, "words": 1, "window": Window.INPUT}
    cases: list[tuple[Error, Opcode, dict[str, Any], dict[str, Any]]] = [
        (Error.OPERAND, weights, {}, {"depth": 0}),
        (Error.OPERAND, weights, signal, {"depth": 1}),
        (Error.OPERAND, weights, wait, {"depth": 1}),
        (Error.TABLE_ADDRESS, weights, {}, {"depth": 1, "table": 8}),
        (Error.TABLE_ADDRESS, weights, {}, {"depth": 1, "table": 0xFFFF}),
        (Error.ROW_ADDRESS, weights, {}, {"depth": 1, "row": 512}),
        (Error.ROW_ADDRESS, weights, {}, {"depth": parameters()["banks"] + 1, "row": 511}),
        (Error.ROW_ADDRESS, weights, {}, {"depth": 0xFFFF, "row": 0xFFFF}),
        (Error.WINDOW, weights, {}, {"depth": 1, "offset": (1 << 15) - 8 * lanes}),
        (Error.WINDOW, weights, {}, {"depth": 1, "offset": 4}),
        (Error.WINDOW, weights, {}, {"depth": 1, "offset": 0xFFFFFFC0}),
        (Error.OPERAND, tokens, {}, {**row, "rows": 0}),
        (Error.OPERAND, tokens, {}, {**row, "words": 0}),
        (Error.OPERAND, tokens, wait, row),
        (Error.WINDOW, tokens, {}, {**row, "offset": 1 << 14}),
        (Error.WINDOW, tokens, {}, {**row, "rows": 4095, "words": 255}),
        (Error.OPERAND, norm, {}, {"channels": 0}),
        (Error.OPERAND, norm, {}, {"channels": lanes + 1}),
        (Error.OPERAND, norm, signal, {"channels": lanes}),
        (Error.TABLE_ADDRESS, norm, {}, {"channels": 2 * lanes, "table": 15}),
        (Error.WINDOW, norm, {}, {"channels": lanes, "offset": (1 << 15) - 4 * lanes}),
        (Error.OPCODE, Opcode.NORMALIZE, {}, {}),
    ]
    for pc, (code, opcode, header, body) in enumerate(cases):
        bench.instruction.put({"pc": pc, "word": encode(opcode, header, **body)})
        await expect_error(dut, f"loader {opcode.name} {body}", code, pc)
        check("loader requests", bench.dram.transfers, [])
        await reset(dut)
    for window in (5, 6, 7):
        word = encode(tokens, {}, **{**row, "window": window})
        bench.instruction.put({"pc": window, "word": word})
        await expect_error(dut, "loader", Error.WINDOW, window)
        check("loader requests", bench.dram.transfers, [])
        await reset(dut)


@cocotb.test()
async def token_address(dut: Any) -> None:
    """Token words up to the end are written, the one beyond stops all."""
    await start(dut)
    bench = _Bench(dut, 5, 0.1)
    body = {"rows": 3, "words": 2, "window": Window.INPUT, "token": 4096 - 13, "stride": 11}
    bench.instruction.put({"pc": 77, "word": encode(Opcode.LOAD_TOKENS, **body)})
    await expect_error(dut, "loader", Error.TOKEN_ADDRESS, 77)
    await cycles(dut, 20)
    got = [write["address"] for write in bench.sinks["token_write"].received]
    check("loader addresses", got, [4083, 4084, 4094, 4095])
    check("loader gives", list(bench.gives), [])
