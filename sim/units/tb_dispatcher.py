"""The dispatcher against the instruction set's rules, written once more as plain predicates."""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring

from rtl_gen.interfaces import ERROR, ISSUED
from rtl_gen.sequencer.dispatcher import Dispatcher
from sim.bench import cycles, seeded, start
from sim.streams import Sink, Source, check, check_all, read, write
from sim.units.dispatch_cases import (
    bad_words,
    good,
    good_body,
    good_header,
    has,
    opcodes,
    word_of,
)
from spec.isa import GATE, HEADER, QUEUE_OF, Opcode
from spec.registers import Error
from spec.semaphores import Queue

PARAMETERS = [
    {"lanes": 8, "max_tokens": 20, "max_head_words": 2},
    {
        "lanes": 64,
        "max_tokens": 197,
        "max_head_words": 4,
        "head_groups": 3,
        "token_selector": True,
        "cls_scores": True,
        "zero_skip": True,
        "attention_masks": True,
        "thresholds": True,
        "effort_gate": True,
    },
    {
        "lanes": 8,
        "max_tokens": 20,
        "max_head_words": 2,
        "token_selector": True,
        "thresholds": True,
    },
    {"lanes": 8, "max_tokens": 20, "max_head_words": 2, "zero_skip": True},
]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return Dispatcher(**parameters)


def _ends(dut: Any) -> tuple[int, int]:
    return int(dut.halted.value), read(dut, "error", ERROR)["valid"]


async def _program(dut: Any, seed: int, stall_in: float, stall_out: float, last: Any) -> int:
    """Good instructions of every opcode, then `last` (a word), then more that must not pass.

    Returns the cycles used beyond one a good instruction.
    """
    await start(dut)
    source = Source(dut, "instruction", ISSUED, seed=seed, stall=stall_in)
    sinks = [
        Sink(dut, f"queues__{queue.value}", ISSUED, seed=seed, stall=stall_out) for queue in Queue
    ]
    rng = random.Random(seeded(seed))
    many = [opcode for opcode in opcodes() for _ in range(40)]
    rng.shuffle(many)
    expected: dict[Queue, list[Any]] = {queue: [] for queue in Queue}
    for opcode in many:
        item = {"pc": rng.getrandbits(16), "word": good(rng, opcode)}
        expected[QUEUE_OF[opcode]].append(item)
        source.put(item)
    used = 0
    while source.queue:
        await cycles(dut)
        used += 1
    check("dispatcher.running", _ends(dut), (0, 0))
    source.put({"pc": 0xBEEF, "word": last})
    for opcode in opcodes():
        source.put({"pc": 1, "word": good(rng, opcode)})
    source.put({"pc": 2, "word": 0})
    if last & 0xFF == Opcode.GATE.value:
        await cycles(dut, 50)
        check("dispatcher.left", len(source.queue), len(opcodes()) + 1)
    else:
        await source.drained()
    await cycles(dut, 5)
    for queue, sink in zip(Queue, sinks, strict=True):
        check_all(f"dispatcher {queue.name}", sink.received, expected[queue], seed=seed)
    return used - len(many)


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """One instruction a cycle, then HALT: nothing after it passes or is checked."""
    last = good(random.Random(seeded(1)), Opcode.HALT)
    check("dispatcher.bubbles", await _program(dut, 1, 0.0, 0.0, last) <= 1, True)
    check("dispatcher.halted", _ends(dut), (1, 0))
    check("dispatcher.skipped", int(dut.skipped.value), last >> HEADER.size & 0xFF)


@cocotb.test()
async def gate(dut: Any) -> None:
    """GATE stops too, and says what it asks; what follows stays where it is."""
    if not has("effort_gate"):
        return
    rng = random.Random(seeded(5))
    for stall in (0.0, 0.5):
        body = good_body(rng, Opcode.GATE)
        last = word_of(Opcode.GATE, good_header(rng, Opcode.GATE), body)
        await _program(dut, 5, stall, stall, last)
        check("dispatcher.halted", (*_ends(dut), int(dut.gated.value)), (1, 0, 1))
        check("dispatcher.gate", read(dut, "gate", GATE), body)
        check("dispatcher.gate_pc", int(dut.gate_pc.value), 0xBEEF)
        check("dispatcher.skipped", int(dut.skipped.value), body["skipped"])


@cocotb.test()
async def slow_queues(dut: Any) -> None:
    """Queues are often full; then a bad instruction: nothing after it passes."""
    await _program(dut, 2, 0.1, 0.7, 0)
    expected = {"valid": 1, "code": Error.OPCODE, "pc": 0xBEEF}
    check("dispatcher.error", read(dut, "error", ERROR), expected)
    check("dispatcher.not_halted", int(dut.halted.value), 0)


@cocotb.test()
async def slow_fetcher(dut: Any) -> None:
    """Instructions come late; HALT after them."""
    await _program(dut, 3, 0.7, 0.2, good(random.Random(seeded(3)), Opcode.HALT))
    check("dispatcher.halted", _ends(dut), (1, 0))


@cocotb.test()
async def every_bad_word(dut: Any) -> None:
    """Each refused word stops a fresh machine at once, with its code and pc, and reaches no queue.

    The queues are never ready: an error waits for none of them. A good word in between, which a
    reset takes back, shows that the machine is fresh.
    """
    from cocotb.triggers import ReadOnly

    await start(dut)
    rng = random.Random(seeded(4))
    for index, (word, code, text) in enumerate(bad_words(rng)):
        dut.rst.value = 1
        dut.instruction__valid.value = 0
        await cycles(dut)
        dut.rst.value = 0
        dut.instruction__valid.value = 1
        fresh = index % 16 == 0
        opcode = rng.choice(opcodes())
        if fresh:
            write(dut, "instruction__payload", ISSUED, {"pc": 9, "word": good(rng, opcode)})
            await cycles(dut)
            valids = [int(getattr(dut, f"queues__{q.value}__valid").value) for q in Queue]
            check("dispatcher.valid", valids, [int(q is QUEUE_OF[opcode]) for q in Queue])
            check("dispatcher.fresh", _ends(dut), (0, 0), index=index, of=text)
            check("dispatcher.waits", int(dut.instruction__ready.value), 0)
        pc = rng.getrandbits(16)
        write(dut, "instruction__payload", ISSUED, {"pc": pc, "word": word})
        await ReadOnly()
        for queue in Queue:
            valid = int(getattr(dut, f"queues__{queue.value}__valid").value)
            check("dispatcher.refused", valid, 0, index=index, of=text)
        await cycles(dut)
        expected = {"valid": 1, "code": code, "pc": pc}
        check("dispatcher.error", read(dut, "error", ERROR), expected, index=index, of=text)
        if index % 16 == 1:
            later = {"pc": pc ^ 1, "word": rng.choice((0, good(rng, Opcode.HALT)))}
            write(dut, "instruction__payload", ISSUED, later)
            await cycles(dut, 2)
            check("dispatcher.first", read(dut, "error", ERROR), expected, index=index, of=text)
            check("dispatcher.no_halt", int(dut.halted.value), 0, index=index, of=text)
