"""Bench of `rtl_gen.dma.fetcher`: order, prefetch limits, HALT, stop and the window's end."""

import random
from typing import Any

import cocotb

from rtl_gen.dma.fetcher import Fetcher
from rtl_gen.interfaces import ISSUED, WINDOWS
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, check, check_all, write
from sim.units.dma_cases import Dram, encode, expect_error, reset
from spec.isa import INSTRUCTION_BYTES, Opcode
from spec.registers import Error

PARAMETERS = [
    {"bus_bits": 64, "depth": 8},
    {"bus_bits": 128, "depth": 3},
    {"bus_bits": 256, "depth": 8},
    {"bus_bits": 512, "depth": 4},
]

_BASE = 4096 - 64


def component(bus_bits: int, depth: int) -> Fetcher:
    """Build the unit under test."""
    return Fetcher(bus_bits=bus_bits, depth=depth)


def _program(rng: random.Random, words: int) -> list[int]:
    """Random words, none of them HALT."""
    return [rng.getrandbits(256) & ~255 | Opcode.LOAD_NORM.value for _ in range(words)]


def _dram(dut: Any, program: list[int], *, stall: float = 0.0, seed: int = 0) -> Dram:
    text = b"".join(word.to_bytes(INSTRUCTION_BYTES, "little") for word in program)
    memory = bytes(_BASE) + text + bytes(64)
    return Dram(dut, memory, bus_bits=parameters()["bus_bits"], stall=stall, seed=seed)


def _load(dram: Dram, program: list[int]) -> None:
    text = b"".join(word.to_bytes(INSTRUCTION_BYTES, "little") for word in program)
    dram.memory = bytes(_BASE) + text + bytes(64)


async def _start(dut: Any, limit: int, base: int = _BASE) -> None:
    write(dut, "program", WINDOWS.elem_shape, {"base": base, "limit": limit})
    dut.start.value = 1
    await cycles(dut)
    dut.start.value = 0


@cocotb.test()
async def programs(dut: Any) -> None:
    """Programs up to HALT, over GATE, of many lengths; nothing is read beyond the limit."""
    await start(dut)
    rng = random.Random(seeded(1))
    dram = _dram(dut, [], stall=0.2, seed=1)
    sink = Sink(dut, "instruction", ISSUED, seed=1, stall=0.3)
    bus_bytes = parameters()["bus_bits"] // 8
    for words in (1, 2, 3, 4, 5, 8, 9, 31, 64):
        program = [*_program(rng, words - 1), encode(Opcode.HALT)]
        if words > 2:
            program[words // 2] = encode(Opcode.GATE, classes=1)
        _load(dram, program)
        dram.transfers.clear()
        rest = rng.choice((0, 31))
        await _start(dut, words * INSTRUCTION_BYTES + rest)
        got = await sink.receive(words)
        expected = [{"pc": pc, "word": word} for pc, word in enumerate(program)]
        check_all("fetcher", got, expected, seed=1)
        while not int(dut.idle.value):
            await cycles(dut)
        check("fetcher error", int(dut.error.value) & 1, 0)
        top = max(address + beats * bus_bytes for address, beats in dram.transfers)
        assert top <= _BASE + -(-words * 32 // bus_bytes) * bus_bytes, f"read up to {top:#x}"
        assert not sink.received, "instructions after HALT"


@cocotb.test()
async def prefetch_is_bounded(dut: Any) -> None:
    """While nothing is taken, at most `depth` lines are requested, and all of them are accepted."""
    await start(dut)
    rng = random.Random(seeded(2))
    program = _program(rng, 64)
    dram = _dram(dut, program)
    sink = Sink(dut, "instruction", ISSUED, stall=1.0)
    await _start(dut, 64 * INSTRUCTION_BYTES)
    await cycles(dut, 200)
    bus_bytes = parameters()["bus_bits"] // 8
    line_bytes = max(INSTRUCTION_BYTES, bus_bytes)
    lines = sum(beats for _, beats in dram.transfers) * bus_bytes / line_bytes
    assert 1 <= lines <= parameters()["depth"], f"{lines} lines requested"
    assert not dram.data.queue, "data refused"
    assert not sink.received


@cocotb.test()
async def end_of_window(dut: Any) -> None:
    """A program without HALT ends in WINDOW at the limit; a bad base in WINDOW at 0."""
    await start(dut)
    rng = random.Random(seeded(3))
    dram = _dram(dut, [])
    sink = Sink(dut, "instruction", ISSUED, stall=0.1)
    for words in (0, 1, 5, 12):
        program = _program(rng, words)
        _load(dram, program)
        await _start(dut, words * INSTRUCTION_BYTES + 7)
        await sink.receive(words)
        await expect_error(dut, "fetcher", Error.WINDOW, words)
        await reset(dut)
        dram.transfers.clear()
    for base, limit in ((_BASE + 32, 320), (0xFFFFFFC0, 128)):
        await _start(dut, limit, base)
        await expect_error(dut, "fetcher", Error.WINDOW, 0)
        await cycles(dut, 20)
        check("fetcher transfers", dram.transfers, [])
        await reset(dut)


@cocotb.test()
async def stop(dut: Any) -> None:
    """`stop` at any time discards what arrives; the next start is clean."""
    await start(dut)
    rng = random.Random(seeded(4))
    dram = _dram(dut, [], stall=0.2, seed=4)
    sink = Sink(dut, "instruction", ISSUED, stall=0.3, seed=4, check=False)
    dram.request.check = False
    for _ in range(25):
        program = _program(rng, 64)
        _load(dram, program)
        await _start(dut, 64 * INSTRUCTION_BYTES)
        await cycles(dut, rng.randrange(60))
        dut.stop.value = 1
        await cycles(dut)
        dut.stop.value = 0
        await cycles(dut)
        got = len(sink.received)
        expected = [{"pc": pc, "word": word} for pc, word in enumerate(program)]
        check_all("fetcher", sink.received, expected[:got], seed=4)
        for _ in range(500):
            if int(dut.idle.value) and not dram.data.queue and not dram.request.received:
                break
            await cycles(dut)
        assert int(dut.idle.value), "never idle"
        await cycles(dut, 10)
        check("fetcher instructions after stop", len(sink.received), got)
        sink.received.clear()
