"""The vector queue's head against program order: LIVE here, NORMALIZE as a resolved command."""

import random
from typing import Any

import cocotb
from amaranth.hdl import Shape
from amaranth.lib import wiring

from rtl_gen.interfaces import ERROR, GIVE, ISSUED, NORM_COMMAND, ROWS_BITS, SELECT_COMMAND
from rtl_gen.sequencer.vector_issue import VectorIssue
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, Source, check, check_all, pack, read, write
from spec.isa import HEADER, LIVE, NORMALIZE, SELECT, Opcode, Package, Scores
from spec.registers import Error

PARAMETERS = [{}, {"token_selector": True}]
_LARGEST = (1 << ROWS_BITS) - 1


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return VectorIssue(**parameters)


def _random(rng: random.Random, shape: Any) -> Any:
    """A random value of a layout of unsigned members."""
    if hasattr(shape, "members"):
        return {name: _random(rng, member) for name, member in shape.members.items()}
    return rng.choice((rng.getrandbits(_bits(shape)), (1 << _bits(shape)) - 1))


def _bits(shape: Any) -> int:
    """Bits of a plain unsigned shape."""
    return Shape.cast(shape).width


def _issued(rng: random.Random, opcode: Opcode, layout: Any, body: dict[str, Any]) -> Any:
    """An instruction with random credits, and its header."""
    header = {
        "opcode": opcode,
        "wait": rng.getrandbits(16),
        "signal": rng.getrandbits(16),
        "token_wait": _random(rng, HEADER["token_wait"].shape),
        "token_signal": _random(rng, HEADER["token_signal"].shape),
    }
    word = pack(HEADER, header) | pack(layout, body) << HEADER.size
    return {"pc": rng.getrandbits(16), "word": word}, header


def _normalize(rng: random.Random, count: int, live: bool) -> Any:
    """NORMALIZE of `count` rows (or so many less than the live ones), its header and body."""
    body = _random(rng, NORMALIZE) | {"rows": {"count": count, "live": int(live)}}
    return *_issued(rng, Opcode.NORMALIZE, NORMALIZE, body), body


def _command(issued: Any, header: Any, body: Any, rows: int) -> dict[str, Any]:
    """The command that a NORMALIZE becomes."""
    return {
        **body,
        "pc": issued["pc"],
        "rows": rows,
        **{name: header[name] for name in ("token_wait", "token_signal", "signal")},
    }


async def _monitor(dut: Any, gives: list[int], lives: list[int]) -> None:
    """Note every give and every new live count; an error fails the test."""
    from cocotb.triggers import FallingEdge, ReadOnly

    while True:
        await ReadOnly()
        give, live = read(dut, "give", GIVE), int(dut.live.value)
        if give["valid"]:
            gives.append(give["mask"])
        if lives[-1] != live:
            lives.append(live)
        check("vector_issue.error", read(dut, "error", ERROR)["valid"], 0)
        await FallingEdge(dut.clk)


async def _run(dut: Any, seed: int, stall_in: float, stall_out: float) -> int:
    """Return the cycles that 200 instructions took beyond one each."""
    await start(dut)
    if parameters():
        dut.norm_idle.value = 1
    source = Source(dut, "issued", ISSUED, seed=seed, stall=stall_in)
    sink = Sink(dut, "command", NORM_COMMAND, seed=seed, stall=stall_out)
    rng = random.Random(seeded(seed))
    live, commands, gives, lives = 0, [], [], [0]
    got_gives: list[int] = []
    got_lives = [0]
    cocotb.start_soon(_monitor(dut, got_gives, got_lives))
    for index in range(200):
        if index == 0 or rng.random() < 0.4:
            live = rng.choice((1, 2, _LARGEST, rng.randrange(1, _LARGEST + 1)))
            issued, header = _issued(rng, Opcode.LIVE, LIVE, {"tokens": live})
            gives.append(header["signal"])
            if lives[-1] != live:
                lives.append(live)
        elif rng.random() < 0.5:
            count = rng.choice((0, live - 1, rng.randrange(live)))
            issued, header, body = _normalize(rng, count, live=True)
            commands.append(_command(issued, header, body, live - count))
        else:
            count = rng.choice((1, _LARGEST, rng.randrange(1, _LARGEST + 1)))
            issued, header, body = _normalize(rng, count, live=False)
            commands.append(_command(issued, header, body, count))
        source.put(issued)
    used = 0
    while source.queue:
        await cycles(dut)
        used += 1
    await cycles(dut, 5)
    check_all("vector_issue", sink.received, commands, seed=seed)
    check_all("vector_issue.gives", got_gives, gives, seed=seed)
    check_all("vector_issue.live", got_lives, lives, seed=seed)
    return used - 200


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """One instruction a cycle."""
    check("vector_issue.bubbles", await _run(dut, 1, 0.0, 0.0) <= 2, True)


@cocotb.test()
async def slow_taker(dut: Any) -> None:
    """LayerNorm takes its commands late."""
    await _run(dut, 2, 0.1, 0.7)


@cocotb.test()
async def slow_giver(dut: Any) -> None:
    """Instructions come late."""
    await _run(dut, 3, 0.7, 0.2)


@cocotb.test()
async def no_row_left(dut: Any) -> None:
    """No live row, as many as live ones or more taken off: OPERAND with the pc, no command."""
    rng = random.Random(seeded(4))
    await start(dut)
    dut.command__ready.value = 1
    for live, count in ((0, 0), (0, 5), (7, 7), (7, 8), (7, _LARGEST), (_LARGEST, _LARGEST)):
        dut.issued__valid.value = 0
        dut.rst.value = 1
        await cycles(dut, 2)
        dut.rst.value = 0
        check("vector_issue.reset", int(dut.live.value), 0)
        if live:
            issued, _ = _issued(rng, Opcode.LIVE, LIVE, {"tokens": live})
            dut.issued__valid.value = 1
            write(dut, "issued__payload", ISSUED, issued)
            await cycles(dut)
        check("vector_issue.live", int(dut.live.value), live)
        issued, _, _ = _normalize(rng, count, live=True)
        dut.issued__valid.value = 1
        write(dut, "issued__payload", ISSUED, issued)
        for _ in range(4):
            await cycles(dut)
            expected = {"valid": 1, "code": Error.OPERAND, "pc": issued["pc"]}
            check("vector_issue.error", read(dut, "error", ERROR), expected, of=(live, count))
            check("vector_issue.give", read(dut, "give", GIVE)["valid"], 0)
            check("vector_issue.command", int(dut.command__valid.value), 0)
            check("vector_issue.taken", int(dut.issued__ready.value), 0)


@cocotb.test()
async def selections(dut: Any) -> None:
    """SELECT waits for LayerNorm, what follows waits for it; then live and package rows are new."""
    if not parameters():
        return
    from cocotb.triggers import ReadOnly

    rng = random.Random(seeded(5))
    await start(dut)
    dut.command__ready.value = 1
    packages = 0

    async def expect(of: str, *layouts: Any, **ports: int) -> None:
        await ReadOnly()
        for name, layout, expected in layouts:
            got = read(dut, name, layout)
            check(f"vector_issue.{name}", {key: got[key] for key in expected}, expected, of=of)
        for name, value in ports.items():
            check(f"vector_issue.{name}", int(getattr(dut, name).value), value, of=of)
        await cycles(dut)

    for number in range(20):
        if number % 5 == 0:
            issued, header = _issued(rng, Opcode.LIVE, LIVE, {"tokens": 300})
            write(dut, "issued__payload", ISSUED, issued)
            dut.issued__valid.value = 1
            await expect("LIVE", issued__ready=1)
            packages, live = 0, 300
        body = _random(rng, SELECT) | {
            "package": rng.choice(list(Package)),
            "scores": rng.choice(list(Scores)),
        }
        issued, header = _issued(rng, Opcode.SELECT, SELECT, body)
        write(dut, "issued__payload", ISSUED, issued)
        dut.issued__valid.value = 1
        dut.norm_idle.value = 0
        dut.select__ready.value = 1
        await expect("busy norm", select__valid=0, issued__ready=0)
        dut.norm_idle.value = 1
        expected = {**body, "pc": issued["pc"], "rows": live, "packages": packages}
        payload = ("select__payload", SELECT_COMMAND, expected)
        await expect("starts", payload, select__valid=1, issued__ready=1, command__valid=0)
        following, next_header, _ = _normalize(rng, 1, live=True)
        write(dut, "issued__payload", ISSUED, following)
        for _ in range(3):
            await expect("selecting", issued__ready=0, command__valid=0, select__valid=0)
            check("vector_issue.live", int(dut.live.value), live)
        dut.selected.value = 1
        dut.new_live.value = new_live = rng.randint(2, live)
        dut.new_packages.value = new_packages = rng.randrange(1 << ROWS_BITS)
        if not body["more"]:
            live, packages = new_live, new_packages
        await expect(
            "over", ("give", GIVE, {"valid": 1, "mask": header["signal"]}), issued__ready=0
        )
        dut.selected.value = 0
        check("vector_issue.live", int(dut.live.value), live)
        payload = ("command__payload", NORM_COMMAND, {"rows": live - 1})
        await expect("NORMALIZE", payload, issued__ready=1, command__valid=1)
        for count, limit, left in ((live, 7, 0), (live - 1, 7, 1), (0, live - 1, live - 1)):
            body = _random(rng, NORMALIZE) | {"rows": {"count": count, "live": 1}}
            limited, next_header = _issued(rng, Opcode.NORMALIZE, NORMALIZE, body)
            limited["word"] |= pack(HEADER, {"row_limit": limit})
            write(dut, "issued__payload", ISSUED, limited)
            if not left:
                dut.norm_idle.value = 0
                await expect("limit", issued__ready=0, command__valid=0)
                dut.norm_idle.value = 1
            expected = {"valid": 0} if left else {"valid": 1, "mask": next_header["signal"]}
            layouts = [("give", GIVE, expected), ("error", ERROR, {"valid": 0})]
            if left:
                layouts.append(("command__payload", NORM_COMMAND, {"rows": left}))
            await expect("limit", *layouts, issued__ready=1, command__valid=int(left > 0))
