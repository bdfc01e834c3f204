"""The difficulty gate against its golden unit: its answer, and the cycles until it comes."""

import random
from typing import Any

import cocotb
import numpy as np
from amaranth.lib import wiring
from cocotb.triggers import FallingEdge, ReadOnly
from numpy.typing import NDArray

from golden_model.units.entropy_gate import gate_sums, is_certain, log2
from rtl_gen.effort_gate.entropy_gate import EntropyGate
from sim.bench import parameters, seeded, start
from sim.streams import check, write
from spec.formats import GATE, REQUANTIZE
from spec.isa import GATE as FIELDS

PARAMETERS = [{"lanes": 8}, {"lanes": 64, "logic_multipliers": True}]
INT16 = np.iinfo(np.int16)
Logits = NDArray[np.int16]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return EntropyGate(**parameters)


def pack(logits: Logits) -> list[int]:
    """Words of token memory; what lies behind the last logit is large."""
    per_word = parameters()["lanes"] // 2
    padded = np.pad(logits, (0, -len(logits) % per_word), constant_values=INT16.max)
    rows = padded.astype("<i2").reshape(-1, per_word)
    return [int.from_bytes(row.tobytes(), "little") for row in rows]


def edge(logits: Logits, multiplier: int, shift: int) -> int:
    """The least threshold that these logits do not exceed, in or below the field's range."""
    total, weighted = (int(each) for each in gate_sums(logits, multiplier, shift))
    scaled = weighted << GATE.fraction_bits - 7
    return -(-scaled // total) + int(log2(total)) - GATE.unit


def thresholds(logits: Logits, multiplier: int, shift: int) -> list[int]:
    """Around the edge, and the ends of the field."""
    at = edge(logits, multiplier, shift)
    near = [threshold for threshold in (at - 1, at, at + 1) if threshold >= 0]
    return [*near, 0, GATE.max_threshold]


async def _ask(
    dut: Any, memory: dict[int, int], fields: dict[str, int], rng: random.Random, stall: float
) -> tuple[int, int]:
    """One answer, and the cycles it took; `memory` by word."""
    lanes = parameters()["lanes"]
    write(dut, "fields", FIELDS, {**fields, "skipped": rng.getrandbits(8)})
    dut.start.value = 1
    spent = 0
    while True:
        dut.read__request__ready.value = int(rng.random() >= stall)
        await ReadOnly()
        asked = int(dut.read__request__valid.value) and int(dut.read__request__ready.value)
        address = int(dut.read__request__payload.value)
        done, certain = int(dut.done.value), int(dut.certain.value)
        check("entropy_gate (busy)", int(dut.busy.value), int(spent > 0), index=spent)
        await FallingEdge(dut.clk)
        dut.start.value = 0
        if asked:
            assert address in memory, f"word {address} is none of the logits'"
        dut.read__valid.value = int(bool(asked))
        dut.read__data.value = memory[address] if asked else rng.getrandbits(8 * lanes)
        if done:
            return certain, spent
        spent += 1
        assert spent < 20_000, "no answer"


async def _compare(
    dut: Any, logits: Logits, scale: tuple[int, int], threshold: int, seed: int, stall: float = 0.0
) -> int:
    """One case; returns the answer."""
    rng = random.Random(f"{seeded(seed)}/{threshold}")
    multiplier, shift = scale
    token = rng.choice((0, 7, 60_000, 65_535))
    memory = {token + at: word for at, word in enumerate(pack(logits))}
    fields = {"token": token, "classes": len(logits), "threshold": threshold}
    fields |= {"multiplier": multiplier, "shift": shift}
    certain, spent = await _ask(dut, memory, fields, rng, stall)
    what = f"{len(logits)} logits, {scale}, threshold {threshold}"
    expected = int(is_certain(logits, multiplier, shift, threshold))
    check("entropy_gate", certain, expected, seed=seed, of=what)
    if not stall:
        cycles = EntropyGate.cycles(len(logits))
        check("entropy_gate (cycles)", spent, cycles, seed=seed, of=what)
    return certain


def _random_case(numbers: np.random.Generator) -> tuple[Logits, tuple[int, int]]:
    """Logits like a network's, with a scale that suits them, or anything."""
    classes = int(numbers.choice((1, 2, 3, 4, 5, 10, 31, 32, 33, 100)))
    if numbers.random() < 0.3:
        scale = int(numbers.integers(0, 1 << 16)), int(numbers.integers(0, 49))
        return numbers.integers(INT16.min, INT16.max + 1, classes).astype(np.int16), scale
    unit = 10.0 ** numbers.uniform(1, 4)
    values = numbers.normal(0, unit, classes)
    values[0] += numbers.uniform(0, 8) * unit
    octave = 128 * np.log2(np.e) * numbers.uniform(0.3, 3) / unit
    shift = min(int(15 - np.floor(np.log2(octave))), REQUANTIZE.max_shift)
    scale = int(octave * 2.0**shift), shift
    return np.clip(np.rint(values), INT16.min, INT16.max).astype(np.int16), scale


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5])
async def random_logits(dut: Any, stall: float) -> None:
    """At the exact edge and beside it, for all sorts of logits."""
    seed = 1 + int(stall * 10)
    numbers = np.random.default_rng(seeded(seed))
    await start(dut, watchdog_cycles=2_000_000)
    answers = []
    for _ in range(60):
        logits, scale = _random_case(numbers)
        for threshold in thresholds(logits, *scale):
            answers.append(await _compare(dut, logits, scale, threshold, seed, stall))
    assert 60 < sum(answers) < len(answers) - 60


@cocotb.test()
async def equal_logits(dut: Any) -> None:
    """The most that so many classes can have, at both ends of the format; one class has none."""
    await start(dut, watchdog_cycles=2_000_000)
    for classes in (1, 2, 64, 100, 1000):
        for value in (INT16.min, -1, INT16.max):
            logits = np.full(classes, value, np.int16)
            for threshold in thresholds(logits, 40_000, 10):
                await _compare(dut, logits, (40_000, 10), threshold, 3)
    assert abs(edge(np.zeros(1000, np.int16), 40_000, 10) - 1024 * np.log2(1000)) < 12


@cocotb.test()
async def ends(dut: Any) -> None:
    """The largest distances, multipliers and shifts; the maximum at every place of two words."""
    await start(dut, watchdog_cycles=2_000_000)
    low, high = np.int16(INT16.min), np.int16(INT16.max)
    for multiplier, shift in ((65_535, 0), (65_535, 48), (1, 0), (0, 0), (65_535, 16), (1, 5)):
        logits = np.array([low, high, 0, low, high - 1, low + 1, 0, 77, -5], np.int16)
        for threshold in thresholds(logits, multiplier, shift):
            await _compare(dut, logits, (multiplier, shift), threshold, 4)
    classes = parameters()["lanes"]
    for place in range(classes):
        logits = np.full(classes, -300, np.int16)
        logits[place] = 200
        at = edge(logits, 32_768, 15)
        for threshold in (at - 1, at):
            if threshold >= 0:
                await _compare(dut, logits, (32_768, 15), threshold, 5)


@cocotb.test()
async def many_classes(dut: Any) -> None:
    """A thousand, over many words."""
    numbers = np.random.default_rng(seeded(6))
    await start(dut, watchdog_cycles=2_000_000)
    logits = np.rint(numbers.normal(0, 900, 1003)).astype(np.int16)
    logits[500] = 6000
    for threshold in thresholds(logits, 46_000, 16):
        await _compare(dut, logits, (46_000, 16), threshold, 6)


@cocotb.test()
async def one_bit(dut: Any) -> None:
    """A flipped bit of any logit that changes the answer is seen: the comparison can fail."""
    numbers = np.random.default_rng(seeded(7))
    scale = (40_000, 15)
    await start(dut, watchdog_cycles=2_000_000)
    logits = np.rint(numbers.normal(0, 200, 10)).astype(np.int16)
    threshold, seen = edge(logits, *scale), 0
    assert threshold > 0
    for place in range(10):
        for bit in range(16):
            flipped = logits.copy()
            flipped[place] ^= np.int16(np.uint16(1 << bit).astype(np.int16))
            if not is_certain(flipped, *scale, threshold):
                seen += 1
                found = await _compare(dut, flipped, scale, threshold, 7)
                assert found != is_certain(logits, *scale, threshold)
    assert seen > 20
