"""The stall monitor against the table of docs/architecture.md, read as a list of conditions."""

import random
from typing import Any

import cocotb
from amaranth.lib import wiring

from rtl_gen.sequencer.stall_monitor import ARRAY_STATE, StallMonitor
from sim.bench import cycles, seeded, start
from sim.streams import check, read, write
from spec.registers import STALLS
from spec.semaphores import SEMAPHORE_COUNT, Semaphore

PARAMETERS = [{}]

_LOAD = {Semaphore.WEIGHTS_READY.value, Semaphore.TOKENS_READY.value}
_VECTOR = {Semaphore.NORMALIZED.value, Semaphore.LIVE_READY.value}
_OTHER = set(range(SEMAPHORE_COUNT)) - _LOAD - _VECTOR

_FLAGS = [name for name, field in ARRAY_STATE if field.width == 1]


def component() -> wiring.Component:
    """The component under test."""
    return StallMonitor()


def _conditions(state: dict[str, int]) -> list[tuple[str, bool]]:
    """Return every cause with whether its own condition holds, the first in the table first."""
    s = {name: state.get(name, 0) for name, _ in ARRAY_STATE}
    missing = {i for i in range(SEMAPHORE_COUNT) if s["wait_credits"] >> i & 1}
    if s["active"] and s["wait_token"]:
        missing.add(s["wait_token_index"])
    working = bool(s["active"])
    return [
        ("softmax", bool(s["blocked_scores"])),
        ("vector", bool(s["blocked_accumulators"] or s["wait_epilogue"])),
        ("softmax", bool(s["wait_softmax"])),
        ("bank_imbalance", working and bool(s["passing"])),
        ("load", bool(missing & _LOAD)),
        ("vector", bool(missing & _VECTOR)),
        ("dependency", bool(missing & _OTHER)),
        ("port_conflict", working and bool(s["wait_port"])),
        ("softmax", working and bool(s["wait_rows"])),
        ("issue", (working and bool(s["wait_operand"])) or bool(s["queue_ready"])),
        ("drain", bool(s["queue_empty"] and s["halted"])),
        ("fetch", not s["queue_head"]),
    ]


def _cause(running: int, state: dict[str, int]) -> str | None:
    """Return the one cause of a cycle; none outside a run or when a step is taken."""
    if not running or state.get("fired", 0):
        return None
    return next((name for name, holds in _conditions(state) if holds), "unattributed")


async def _look(dut: Any, running: int, state: dict[str, int], index: int = 0) -> str | None:
    """Drive a state and check its cause against the table; returns the cause."""
    dut.running.value = running
    write(dut, "state", ARRAY_STATE, state)
    await cycles(dut)
    stalls = read(dut, "stalls", len(STALLS))
    names = [name for bit, name in enumerate(STALLS) if stalls >> bit & 1]
    expected = _cause(running, state)
    found = [] if expected is None else [expected]
    check("stall_monitor", names, found, index=index, of=(running, state))
    return expected


def _row(semaphore: int, **others: int) -> dict[str, int]:
    return {"active": 1, "wait_token": 1, "wait_token_index": semaphore, "queue_head": 1, **others}


def _alone() -> list[tuple[str, dict[str, int]]]:
    """Return states in which one condition holds, in the order of the table, and its cause."""
    head, work = {"queue_head": 1}, {"active": 1, "queue_head": 1}
    states = [
        ("softmax", {**work, "blocked_scores": 1}),
        ("vector", {**work, "blocked_accumulators": 1}),
        ("vector", {**head, "wait_epilogue": 1}),
        ("softmax", {**head, "wait_softmax": 1}),
        ("bank_imbalance", {**work, "passing": 1}),
    ]
    for cause, semaphores in (("load", _LOAD), ("vector", _VECTOR), ("dependency", _OTHER)):
        for semaphore in sorted(semaphores):
            states.append((cause, _row(semaphore)))
            states.append((cause, {**head, "wait_credits": 1 << semaphore}))
    return [
        *states,
        ("port_conflict", {**work, "wait_port": 1}),
        ("softmax", {**work, "wait_rows": 1}),
        ("issue", {**work, "wait_operand": 1}),
        ("issue", {**head, "queue_ready": 1}),
        ("drain", {"queue_empty": 1, "halted": 1}),
        ("fetch", {"queue_empty": 1}),
        ("fetch", {}),
        ("unattributed", head),
        ("unattributed", work),
    ]


@cocotb.test()
async def each_cause_alone(dut: Any) -> None:
    """Every cause that has a source is provoked by its own condition, and only in a run."""
    await start(dut)
    seen = set()
    for index, (cause, state) in enumerate(_alone()):
        check("stall_monitor", await _look(dut, 1, state, index), cause, index=index, of=state)
        seen.add(cause)
        check("stall_monitor.idle", await _look(dut, 0, state, index), None, index=index)
        fired = {**state, "fired": 1}
        check("stall_monitor.fired", await _look(dut, 1, fired, index), None, index=index)
    check("stall_monitor.causes", set(STALLS) - seen, set())


@cocotb.test()
async def earlier_wins(dut: Any) -> None:
    """Two conditions at once: the earlier one of the table counts."""
    await start(dut)
    states = [state for _, state in _alone()]
    for index, first in enumerate(states):
        for second in states[index + 1 :]:
            both = {name: first.get(name, 0) | second.get(name, 0) for name, _ in ARRAY_STATE}
            if first.get("wait_token") and second.get("wait_token"):
                continue  # one row waits for one semaphore
            await _look(dut, 1, both, index)
    chain = [  # later conditions are added in front, one by one
        ("drain", {"queue_empty": 1, "halted": 1}),
        ("issue", {"active": 1, "wait_operand": 1}),
        ("softmax", {"wait_rows": 1}),
        ("port_conflict", {"wait_port": 1}),
        ("dependency", {"wait_credits": 1 << Semaphore.ARRAY_DONE.value}),
        ("vector", {"wait_token": 1, "wait_token_index": Semaphore.NORMALIZED.value}),
        ("load", {"wait_token_index": Semaphore.TOKENS_READY.value}),
        ("bank_imbalance", {"passing": 1}),
        ("softmax", {"wait_softmax": 1}),
        ("vector", {"wait_epilogue": 1}),
        ("softmax", {"blocked_scores": 1}),
        (None, {"fired": 1}),
    ]
    state: dict[str, int] = {}
    for index, (cause, more) in enumerate(chain):
        state |= more
        check("stall_monitor.chain", await _look(dut, 1, state, index), cause, index=index)


@cocotb.test()
async def only_in_work(dut: Any) -> None:
    """What a row waits for means nothing while no instruction is in work."""
    await start(dut)
    for name in ("wait_port", "wait_rows", "wait_operand", "passing"):
        check("stall_monitor", await _look(dut, 1, {name: 1}), "fetch", of=name)
    for semaphore in range(SEMAPHORE_COUNT):
        state = _row(semaphore, active=0)
        check("stall_monitor", await _look(dut, 1, state), "unattributed", of=state)


@cocotb.test()
async def random_states(dut: Any) -> None:
    """Dense and sparse random states, also ones the machine never reaches."""
    await start(dut)
    rng = random.Random(seeded(1))
    seen = set()
    for index in range(3000):
        chance = rng.choice((0.05, 0.15, 0.5))
        state = {name: int(rng.random() < chance) for name in _FLAGS}
        state["fired"] = int(rng.random() < 0.1)
        state["queue_head"] = rng.getrandbits(1)
        state["wait_token_index"] = rng.randrange(SEMAPHORE_COUNT)
        bits = rng.choice((0, 0, 0, 1, 2, SEMAPHORE_COUNT))
        state["wait_credits"] = sum(1 << i for i in rng.sample(range(SEMAPHORE_COUNT), bits))
        seen.add(await _look(dut, int(rng.random() < 0.95), state, index))
    check("stall_monitor.seen", seen, {*STALLS, None})
