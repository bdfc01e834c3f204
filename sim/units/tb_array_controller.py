"""The array controller on fully connected instructions: commands, row credits, walks, steps.

The bench plays the index engine, token memory and the PE array's control, all with random stalls.
Attention is covered by the machine's tests.
"""

import random
from typing import Any

import cocotb
from amaranth.hdl import signed
from amaranth.lib import data, wiring
from cocotb.triggers import ReadOnly

from rtl_gen.interfaces import (
    ADDRESS_BITS,
    EPILOGUE_COMMAND,
    ERROR,
    GIVE,
    ISSUED,
    PC_BITS,
    WALK,
    step_layout,
)
from rtl_gen.sequencer.array_controller import ArrayController
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, Source, check, check_all, pack, read
from spec.isa import ATTENTION, FULLY_CONNECTED, HEADER, Activation, Destination, Opcode
from spec.registers import Error

PARAMETERS = [
    {"banks": 4, "lanes": 8, "token_selector": True},
    {"banks": 2, "lanes": 2},
]

_EPILOGUE = "epilogue_command"
_FIELDS = ("destination", "target", "target_stride", "table", "activation")
_FIELDS += ("activation_multiplier", "activation_shift", "activation_zero_point")
_FIELDS += ("accumulate", "partial", "broadcast")


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return ArrayController(prob_words=16, max_head_words=2, **parameters)


def _selects() -> bool:
    return parameters().get("token_selector", False)


def _instruction(rng: random.Random, live: int) -> dict[str, Any]:
    """Return a random FULLY_CONNECTED instruction that leaves at least one row."""
    lanes = parameters()["lanes"]
    rows = rng.choice((1, 2, rng.randint(1, 5)))
    by_live = int(rows <= live and rng.random() < 0.5)
    limited = _selects() and rng.random() < 0.5
    limit = rng.choice((rows, rows + 1, 4095, max(1, rows - 1))) if limited else 0
    body = {
        "source": rng.choice((0, 0xFFFF, rng.randrange(1 << 16))),
        "source_stride": rng.choice((0, 1, 255, rng.randrange(256))),
        "zero_point": rng.choice((-128, 127, 0, rng.randint(-128, 127))),
        "depth": rng.choice((1, lanes, lanes + 1, 3 * lanes, rng.randint(1, 20))),
        "row": rng.randrange(1 << 16),
        "table": rng.randrange(1 << 16),
        "columns": rng.randint(1, lanes),
        "rows": {"count": live - rows if by_live else rows, "live": by_live},
        "destination": rng.choice(list(Destination)),
        "target": rng.randrange(1 << 16),
        "target_stride": rng.randrange(256),
        "activation": rng.choice(list(Activation)),
        "activation_multiplier": rng.randrange(1 << 16),
        "activation_shift": rng.randrange(64),
        "activation_zero_point": rng.randint(-128, 127),
        "accumulate": rng.getrandbits(1),
        "partial": rng.randrange(1 << 16),
        "broadcast": rng.randrange(1 + _selects()),
    }
    return {
        "pc": rng.randrange(1 << PC_BITS),
        "count": min(rows, limit) if limit and by_live else rows,
        "row_limit": limit,
        "body": body,
        "token_wait": {"index": rng.randrange(16), "valid": rng.getrandbits(1)},
        "token_signal": {"index": rng.randrange(16), "valid": rng.getrandbits(1)},
        "signal": rng.getrandbits(16),
    }


def _issued(item: dict[str, Any], opcode: Opcode = Opcode.FULLY_CONNECTED) -> dict[str, int]:
    names = ("token_wait", "token_signal", "signal", "row_limit")
    header = {name: item[name] for name in names}
    word = pack(HEADER, {**header, "opcode": opcode})
    return {"pc": item["pc"], "word": word | pack(FULLY_CONNECTED, item["body"]) << HEADER.size}


def _walk(item: dict[str, Any]) -> dict[str, int]:
    body = item["body"]
    return {"base": body["row"], "count": body["depth"], "stride": 1, "words": 1, "offset": 0}


def _command(item: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the epilogue's command that mean something here."""
    own = {name: item[name] for name in ("pc", "token_signal", "signal")}
    fields = {name: item["body"][name] for name in _FIELDS}
    return {**own, **fields, "attention": 0, "rows": item["count"]}


def _steps(walk: dict[str, int], banks: int) -> list[dict[str, Any]]:
    """Return the steps of a fully connected walk, as the index engine gives them."""
    groups = -(-walk["count"] // banks)
    return [
        {
            "address": [walk["base"] + group] * banks,
            "valid": sum(1 << b for b in range(banks) if group * banks + b < walk["count"]),
            "scalar": [group] * banks,
            "word": 0,
            "first": int(group == 0),
            "last": int(group == groups - 1),
            "group_first": 1,
            "group_last": 1,
        }
        for group in range(groups)
    ]


class _Machine:
    """Token memory with a busy port, the index engine, and what the PE array is shown."""

    def __init__(self, dut: Any, seed: int, chances: dict[str, float]) -> None:
        self.dut, self.chances = dut, chances
        self.random = random.Random(f"array_controller/{seeded(seed)}")
        p = parameters()
        self.banks, self.lanes = p["banks"], p["lanes"]
        self.memory: dict[int, int] = {}
        self.pending: int | None = None
        self.reads: list[int] = []
        self.events: list[tuple[str, int]] = []
        """reads and row credits in the order they happen"""
        self.walks: list[dict[str, int]] = []
        self.steps = Source(
            dut, "step", step_layout(self.banks), seed=seed, stall=chances.get("step", 0.0)
        )
        self.shown: list[dict[str, Any]] = []
        self.fired: list[tuple[int, int]] = []
        self.fired_pc: int | None = None
        """Of the step taken in the cycle before."""
        self.waited: dict[str, int] = {}
        """cycles with each reason to wait"""

    def word(self, address: int) -> int:
        """Return the word of token memory at an address."""
        return self.memory.setdefault(address, self.random.getrandbits(self.lanes * 8))

    def _chance(self, name: str) -> int:
        return int(self.random.random() >= self.chances.get(name, 0.0))

    async def cycle(self) -> None:
        """Drive one cycle and note what it does."""
        dut, banks = self.dut, self.banks
        came = self.pending
        dut.read__valid.value = int(came is not None)
        noise = self.random.getrandbits(self.lanes * 8)
        dut.read__data.value = noise if came is None else self.word(came)
        dut.read__request__ready.value = self._chance("port")
        dut.take_token__ready.value = self._chance("credit")
        dut.walk__ready.value = self._chance("walk")
        advance = self._chance("array")
        dut.array__advance.value = advance
        await ReadOnly()

        def goes(name: str) -> bool:
            return bool(read(dut, f"{name}__valid", 1) and read(dut, f"{name}__ready", 1))

        if goes("take_token"):
            self.events.append(("credit", read(dut, "take_token__payload", 4)))
        self.pending = None
        if goes("read__request"):
            address = read(dut, "read__request__payload", ADDRESS_BITS)
            self.pending = address
            self.events.append(("read", address))
        if goes("walk"):
            walk = read(dut, "walk__payload", WALK)
            self.walks.append(walk)
            self.steps.put(*_steps(walk, banks))
        self._waits()
        check("array_controller.issued", goes("issued"), goes(_EPILOGUE))
        fired, macs = read(dut, "fired", 1), read(dut, "macs", range(banks * self.lanes + 1))
        check("array_controller.fired", bool(fired), goes("step"))
        if self.fired_pc is None:
            check("array_controller.macs", macs, 0)
        else:
            self.fired.append((macs, self.fired_pc))
        self.fired_pc = read(dut, "pc", PC_BITS) if fired else None
        if fired:
            check("array_controller.active", read(dut, "active", 1), 1)
        if read(dut, "array__step_valid", 1) and advance:
            valid = read(dut, "array__bank_valid", banks)
            scalars = read(dut, "array__scalars", data.ArrayLayout(signed(9), banks))
            self.shown.append(
                {
                    "reduce": read(dut, "array__reduce", 1),
                    "first": read(dut, "array__first", 1),
                    "last": read(dut, "array__last", 1),
                    "valid": valid,
                    "scalars": [scalars[b] if valid >> b & 1 else 0 for b in range(banks)],
                }
            )
        for name in ("softmax_command", "reserve", "prob_rows"):
            check(f"array_controller.{name}", goes(name), False)
        check("array_controller.release", read(dut, "release", 1), 0)
        check("array_controller.error", read(dut, "error", ERROR)["valid"], 0)
        await cycles(dut)

    def _waits(self) -> None:
        """Check what the stall monitor is told against the streams it speaks of."""
        dut = self.dut

        def refused(name: str) -> int:
            return read(dut, f"{name}__valid", 1) & ~read(dut, f"{name}__ready", 1) & 1

        check("array_controller.wait_epilogue", read(dut, "wait_epilogue", 1), refused(_EPILOGUE))
        for name in ("wait_softmax", "wait_rows"):
            check(f"array_controller.{name}", read(dut, name, 1), 0)
        for name, port in (("wait_token", "take_token"), ("wait_port", "read__request")):
            waits = read(dut, name, 1)
            self.waited[name] = self.waited.get(name, 0) + waits
            check(f"array_controller.{name}", waits & ~refused(port), 0)
            if waits and name == "wait_token":
                index = read(dut, "take_token__payload", 4)
                check("array_controller.wait_token_index", read(dut, "wait_token_index", 4), index)

    def expect(self, item: dict[str, Any]) -> dict[str, list[Any]]:
        """Return what an instruction must cause, in order."""
        body, wait = item["body"], item["token_wait"]
        depth, banks, lanes = body["depth"], self.banks, self.lanes
        events: list[tuple[str, int]] = []
        shown, fired = [], []
        for row in range(item["count"]):
            base = body["source"] + row * body["source_stride"]
            codes: list[int] = []
            if wait["valid"]:
                events.append(("credit", wait["index"]))
            for word in range(-(-depth // lanes)):
                address = base + word
                events.append(("read", address))
                codes += self.word(address).to_bytes(lanes, "little")
            for group in range(0, depth, banks):
                part = [group + b < depth for b in range(banks)]
                scalars = [0] * banks
                for b in range(banks):
                    if part[b]:
                        code = codes[group + b]
                        scalars[b] = code - 256 * (code > 127) - body["zero_point"]
                shown.append(
                    {
                        "reduce": 0,
                        "first": int(group == 0),
                        "last": int(group + banks >= depth),
                        "valid": sum(1 << b for b in range(banks) if part[b]),
                        "scalars": scalars,
                    }
                )
                fired.append((sum(part) * body["columns"], item["pc"]))
        walks = [_walk(item)] * item["count"]
        return {"events": events, "walks": walks, "shown": shown, "fired": fired}


async def _run(dut: Any, seed: int, count: int, **chances: float) -> _Machine:
    """Run random instructions and compare everything they cause."""
    await start(dut)
    live = 5
    dut.live.value = live
    machine = _Machine(dut, seed, chances)
    stall = chances.get("command", 0.0)
    commands = Sink(dut, _EPILOGUE, EPILOGUE_COMMAND, seed=seed, stall=stall)
    issued = Source(dut, "issued", ISSUED, seed=seed, stall=chances.get("issue", 0.0))
    items = [_instruction(machine.random, live) for _ in range(count)]
    expected: dict[str, list[Any]] = {"events": [], "walks": [], "shown": [], "fired": []}
    for item in items:
        for name, entries in machine.expect(item).items():
            expected[name] += entries
    issued.put(*(_issued(item) for item in items))
    used = 0
    while len(machine.shown) < len(expected["shown"]):
        await machine.cycle()
        used += 1
        assert used < 20_000, "array_controller: the instructions do not end"
    for _ in range(20):
        await machine.cycle()
    check("array_controller.idle", read(dut, "active", 1), 0, seed=seed)
    got = {name: getattr(machine, name) for name in expected}
    for name, entries in expected.items():
        check_all(f"array_controller.{name}", got[name], entries, seed=seed)
    wanted = [_command(item) for item in items]
    found = [{name: command[name] for name in wanted[0]} for command in commands.received]
    check_all("array_controller.epilogue_command", found, wanted, seed=seed)
    return machine


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """Nothing stalls."""
    await _run(dut, 1, 15)


@cocotb.test()
async def everything_stalls(dut: Any) -> None:
    """Every stream stalls at random."""
    names = ("port", "credit", "walk", "array", "step", "command", "issue")
    await _run(dut, 2, 9, **dict.fromkeys(names, 0.4))


@cocotb.test()
async def slow_memory(dut: Any) -> None:
    """Credits and the port come late; the rest is quick."""
    machine = await _run(dut, 3, 9, port=0.7, credit=0.8)
    for name in ("wait_token", "wait_port"):
        assert machine.waited[name], f"the array never told {name}"


@cocotb.test()
async def frozen_array(dut: Any) -> None:
    """The array and the epilogue are behind."""
    await _run(dut, 4, 8, array=0.7, command=0.8)


@cocotb.test()
async def no_rows(dut: Any) -> None:
    """An instruction without rows is an error with its program counter and starts nothing."""
    await start(dut)
    rng = random.Random(f"array_controller/{seeded(5)}")
    dut.live.value = 3
    dut.epilogue_command__ready.value = 1
    for count, live in ((0, 0), (3, 1), (4, 1), (4095, 1)):
        item = _instruction(rng, 0)
        item["body"]["rows"] = {"count": count, "live": live}
        item["row_limit"] = 0
        dut.issued__payload.value = pack(ISSUED, _issued(item))
        dut.issued__valid.value = 1
        await ReadOnly()
        error = {"valid": 1, "code": Error.OPERAND, "pc": item["pc"]}
        check("array_controller.error", read(dut, "error", ERROR), error, seed=5)
        for name in ("issued__ready", "epilogue_command__valid", "active"):
            check(f"array_controller.{name}", read(dut, name, 1), 0, seed=5)
        await cycles(dut)
    dut.issued__valid.value = 0


@cocotb.test()
async def limit_leaves_no_row(dut: Any) -> None:
    """With a limit it is no error: the credits come when all is at rest, and nothing starts."""
    if not _selects():
        return
    await start(dut)
    rng = random.Random(f"array_controller/{seeded(6)}")
    dut.live.value = 3
    dut.epilogue_command__ready.value = 1
    for count, limit in ((3, 1), (4, 4095), (4095, 2)):
        for opcode in (Opcode.FULLY_CONNECTED, Opcode.ATTENTION):
            item = _instruction(rng, 0)
            item["body"]["rows"] = {"count": count, "live": 1}
            item["row_limit"] = limit
            word = _issued(item)
            if opcode is Opcode.ATTENTION:
                body = {"queries": {"count": count, "live": 1}, "keys": {"count": 0, "live": 1}}
                header = {name: item[name] for name in ("signal", "row_limit")}
                bits = pack(HEADER, header | {"opcode": opcode}) | pack(ATTENTION, body) << 64
                word = {"pc": item["pc"], "word": bits}
            dut.issued__payload.value = pack(ISSUED, word)
            dut.issued__valid.value = 1
            for rests in (0, 0, 1):
                dut.at_rest.value = rests
                await ReadOnly()
                give = read(dut, "give", GIVE)
                check("array_controller.give", give["valid"], rests, seed=6)
                if rests:
                    check("array_controller.give", give["mask"], item["signal"], seed=6)
                check("array_controller.ready", read(dut, "issued__ready", 1), rests, seed=6)
                check("array_controller.wait", read(dut, "wait_epilogue", 1), 1 - rests, seed=6)
                for name in ("epilogue_command__valid", "softmax_command__valid", "active"):
                    check(f"array_controller.{name}", read(dut, name, 1), 0, seed=6)
                check("array_controller.error", read(dut, "error", ERROR)["valid"], 0, seed=6)
                await cycles(dut)
    dut.issued__valid.value = 0
    await cycles(dut, 3)
    check("array_controller.active", read(dut, "active", 1), 0, seed=6)
