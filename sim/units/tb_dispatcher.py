"""The dispatcher against the instruction set's rules, written once more as plain predicates."""

import random
from collections.abc import Iterator
from typing import Any

import cocotb
from amaranth.lib import wiring

from rtl_gen.interfaces import ERROR, ISSUED
from rtl_gen.sequencer.dispatcher import Dispatcher
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, Source, check, check_all, pack, read, write
from spec.config import SIEVES
from spec.formats import NORM, PROB, SELECTOR
from spec.isa import BODIES, HEADER, QUEUE_OF, Activation, Destination, Opcode, Package
from spec.registers import Error
from spec.semaphores import CONSUMER_OF, PRODUCER_OF, SEMAPHORE_COUNT, Queue, Semaphore

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
_NONE = {"index": 0, "valid": 0}
_TRANSFERS = (Opcode.LOAD_TOKENS, Opcode.STORE_TOKENS)
_ROWLESS = (Opcode.LIVE, Opcode.SELECT)
"""Instructions without a credit a row."""
_SETTINGS = (Opcode.HEAD_SCALES, Opcode.SIEVE)
"""Instructions that give no credits at all."""
_LIMITS = ("threshold", "score_threshold", "prob_threshold", "context_threshold")


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return Dispatcher(**parameters)


def _head_groups() -> int:
    return parameters().get("head_groups", 1)


def _has(option: str) -> bool:
    return parameters().get(option, False)


def _opcodes() -> list[Opcode]:
    """Those that belong to a queue of this machine."""
    missing = {Opcode.HEAD_SCALES} if _head_groups() == 1 else set()
    if not _has("token_selector"):
        missing.add(Opcode.SELECT)
    if not any(_has(name) for name in SIEVES):
        missing.add(Opcode.SIEVE)
    return [each for each in QUEUE_OF if each not in missing]


def _owned(of: dict[Semaphore, Queue], queue: Queue) -> list[int]:
    return [semaphore.value for semaphore, owner in of.items() if owner is queue]


def _rows(rng: random.Random) -> dict[str, int]:
    """A row count that is allowed; from the live tokens any number may be taken off."""
    most = parameters()["max_tokens"]
    if rng.random() < 0.3:
        return {"count": rng.choice((0, most, 4095)), "live": 1}
    return {"count": rng.choice((1, most, rng.randrange(1, most + 1))), "live": 0}


def _good_body(rng: random.Random, opcode: Opcode) -> dict[str, Any]:
    """Random bits in every field, with allowed values where there is a rule."""
    p = parameters()
    lanes, columns = p["lanes"], p["lanes"] * _head_groups()
    body: dict[str, Any] = {}
    for name, field in BODIES[opcode]:
        shape = field.shape
        if hasattr(shape, "members"):
            body[name] = _rows(rng)
        else:
            body[name] = rng.getrandbits(field.width) - (
                (1 << field.width - 1) if getattr(shape, "signed", False) else 0
            )
    if opcode is Opcode.FULLY_CONNECTED:
        body |= {
            "depth": rng.choice((1, 0xFFFF, body["depth"] | 1)),
            "columns": rng.choice((1, columns, rng.randrange(1, columns + 1))),
            "activation": rng.randrange(len(Activation)),
            "destination": rng.randrange(len(Destination)),
            "broadcast": rng.randrange(1 + _has("token_selector")),
        }
    elif opcode is Opcode.ATTENTION:
        longest = min(p["max_head_words"] * lanes, 255)
        head_dim = rng.choice((1, lanes, lanes - 1, min(lanes + 1, longest), longest))
        spare = max(lanes - head_dim, 0)
        body |= {
            "head_dim": head_dim,
            "head_words": -(-head_dim // lanes),
            "first_lane": rng.choice((0, spare, rng.randrange(spare + 1))),
            "scores": rng.randrange(1 + 2 * _has("cls_scores")),
        }
    elif opcode is Opcode.NORMALIZE:
        body["channels"] = rng.choice((1, NORM.max_channels, rng.randint(1, NORM.max_channels)))
    elif opcode is Opcode.LIVE:
        body["tokens"] = rng.choice((1, p["max_tokens"]))
    elif opcode is Opcode.LOAD_WEIGHTS and not _has("token_selector"):
        body["live_above"] = 0
    elif opcode in _TRANSFERS and not _has("token_selector"):
        body["live"] = 0
    elif opcode is Opcode.SELECT:
        heads = min(lanes, SELECTOR.max_heads)
        collects = rng.randrange(1 + _has("cls_scores"))
        body |= {
            "words": rng.choice((1, 255, body["words"] | 1)),
            "scores": collects,
            "heads": body["heads"] if collects else rng.choice((1, heads)),
            "package": rng.randrange(len(Package)),
        }
    elif opcode is Opcode.SIEVE:
        masks = _has("attention_masks")
        body |= {"skip_zeros": body["skip_zeros"] & _has("zero_skip")}
        body |= {name: body[name] & masks for name in ("masked", "placed", "forget")}
        if body["masked"]:
            body |= {"placed": 1, "list_words": body["list_words"] | 1}
        if not _has("thresholds"):
            body |= dict.fromkeys(_LIMITS, 0)
        elif body["prob_threshold"] == PROB.high:
            body["prob_threshold"] -= 1
    if "further_groups" in body:
        body["further_groups"] = rng.randrange(_head_groups())
    return body


def _good_header(rng: random.Random, opcode: Opcode) -> dict[str, Any]:
    """Credits of the opcode's own semaphores only; an invalid token index may be anything."""
    header: dict[str, Any] = {"opcode": opcode}
    if _has("token_selector"):
        header["row_limit"] = rng.choice((0, 4095, rng.getrandbits(12)))
    for name, token, of in (
        ("wait", "token_wait", CONSUMER_OF),
        ("signal", "token_signal", PRODUCER_OF),
    ):
        if opcode is Opcode.HALT:
            header |= {name: rng.getrandbits(16), token: {"index": 15, "valid": rng.randrange(2)}}
            continue
        own = _owned(of, QUEUE_OF[opcode])
        if opcode in _SETTINGS:
            waits = sum(1 << i for i in own if rng.random() < 0.5)
            header |= {name: waits if name == "wait" else 0, token: _NONE}
            continue
        header[name] = sum(1 << i for i in own if rng.random() < 0.5)
        if opcode in _ROWLESS:
            header[token] = _NONE
            continue
        header[token] = rng.choice(
            ({"index": rng.randrange(16), "valid": 0}, {"index": rng.choice(own), "valid": 1})
        )
    return header


def _word(opcode: Opcode, header: dict[str, Any], body: dict[str, Any]) -> int:
    """Bits of an instruction; fields may break the rules as long as they fit."""
    return pack(HEADER, header) | pack(BODIES[opcode], body) << HEADER.size


def _good(rng: random.Random, opcode: Opcode) -> int:
    """A random word that the dispatcher accepts."""
    return _word(opcode, _good_header(rng, opcode), _good_body(rng, opcode))


def _bad_bodies(opcode: Opcode) -> Iterator[dict[str, Any]]:
    """Each way in which one operand breaks a rule."""
    p = parameters()
    lanes, most, words = p["lanes"], p["max_tokens"], p["max_head_words"]
    if "further_groups" in BODIES[opcode].members:
        yield from ({"further_groups": number} for number in range(_head_groups(), 4))
    wrong = [{"count": count, "live": 0} for count in (0, most + 1, 4095)]
    if opcode is Opcode.FULLY_CONNECTED:
        yield from ({"rows": rows} for rows in wrong)
        yield from ({"columns": columns} for columns in (0, lanes * _head_groups() + 1, 255))
        yield from ({"depth": 0}, {"activation": 3})
        yield from () if _has("token_selector") else ({"broadcast": 1},)
        yield from ({"destination": code} for code in range(len(Destination), 8))
    elif opcode is Opcode.ATTENTION:
        yield from ({"queries": rows} for rows in wrong)
        yield from ({"keys": rows} for rows in wrong)
        for head_dim, head_words, first_lane in (
            (0, 0, 0),
            (0, 1, 0),
            (1, 0, 0),
            (1, 2, 0),
            (lanes, 2, 0),
            (lanes + 1, 1, 0),
            (lanes + 1, 2, 1),
            (lanes, 1, 1),
            (1, 1, lanes),
            (1, 1, 255),
            (lanes - 1, 1, 2),
            (2, 1, lanes - 1),
            (lanes, 1, 255),
            *([(words * lanes + 1, words + 1, 0)] if words * lanes < 255 else []),
        ):
            yield {"head_dim": head_dim, "head_words": head_words, "first_lane": first_lane}
        yield from ({"scores": use} for use in range(1 + 2 * _has("cls_scores"), 4))
    elif opcode is Opcode.NORMALIZE:
        yield from ({"rows": rows} for rows in wrong)
        yield from ({"channels": channels} for channels in (0, NORM.max_channels + 1, 4095))
    elif opcode is Opcode.LIVE:
        yield from ({"tokens": tokens} for tokens in (0, most + 1, 4095))
    elif opcode is Opcode.LOAD_WEIGHTS and not _has("token_selector"):
        yield from ({"live_above": tokens} for tokens in (1, 4095))
    elif opcode in _TRANSFERS and not _has("token_selector"):
        yield {"live": 1}
    elif opcode is Opcode.SELECT:
        yield from ({"words": 0}, {"package": 3})
        for heads in (0, min(lanes, SELECTOR.max_heads) + 1, 31):
            yield {"heads": heads, "scores": 0}
        yield from () if _has("cls_scores") else ({"scores": 1},)
    elif opcode is Opcode.SIEVE:
        yield {"prob_threshold": PROB.high}
        yield from () if _has("zero_skip") else ({"skip_zeros": 1},)
        yield from () if _has("thresholds") else ({name: 1} for name in _LIMITS)
        if _has("attention_masks"):
            yield {"masked": 1, "placed": 0, "list_words": 1}
            yield {"masked": 1, "placed": 1, "list_words": 0}
        else:
            yield from ({"placed": 1}, {"forget": 1})
            yield {"masked": 1, "placed": 1, "list_words": 1}


def _bad_words(rng: random.Random) -> Iterator[tuple[int, Error, str]]:
    """Every kind of refused word, with its error and a description."""
    opcodes = [*_opcodes(), Opcode.HALT]
    defined = {opcode.value for opcode in opcodes}
    for value in range(256):
        if value not in defined:
            opcode = rng.choice(opcodes)
            yield _good(rng, opcode) & ~0xFF | value, Error.OPCODE, f"opcode {value}"
    for opcode in opcodes:
        for bit in range(HEADER["reserved"].width):
            header = _good_header(rng, opcode) | {"reserved": 1 << bit}
            word = _word(opcode, header, _good_body(rng, opcode))
            yield word, Error.OPCODE, f"{opcode.name} reserved bit {bit}"
        if not _has("token_selector"):
            for limit in (1, 1 << 11):
                header = _good_header(rng, opcode) | {"row_limit": limit}
                word = _word(opcode, header, _good_body(rng, opcode))
                yield word, Error.OPERAND, f"{opcode.name} row_limit {limit}"
        for wrong in _bad_bodies(opcode):
            body = _good_body(rng, opcode) | wrong
            header = _good_header(rng, opcode)
            yield _word(opcode, header, body), Error.OPERAND, f"{opcode.name} {wrong}"
            if opcode in QUEUE_OF:
                bad_header = header | {"wait": 0xFFFF}
                text = f"{opcode.name} {wrong}, bad semaphores"
                yield _word(opcode, bad_header, body), Error.OPERAND, text
                text = f"{opcode.name} {wrong}, bad semaphores, reserved"
                yield _word(opcode, bad_header | {"reserved": 1}, body), Error.OPCODE, text
    for opcode in _opcodes():
        queue = QUEUE_OF[opcode]
        for name, of in (("wait", CONSUMER_OF), ("signal", PRODUCER_OF)):
            own = set() if opcode in _SETTINGS and name == "signal" else _owned(of, queue)
            for index in set(range(SEMAPHORE_COUNT)) - set(own):
                for wrong in (
                    {name: 1 << index},
                    {f"token_{name}": {"index": index, "valid": 1}},
                ):
                    header = _good_header(rng, opcode)
                    if name in wrong:
                        wrong = {name: header[name] | wrong[name]}
                    word = _word(opcode, header | wrong, _good_body(rng, opcode))
                    rowless = opcode in _ROWLESS and name not in wrong
                    code = Error.OPERAND if rowless else Error.SEMAPHORE
                    yield word, code, f"{opcode.name} {wrong}"


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
    opcodes = [opcode for opcode in _opcodes() for _ in range(40)]
    rng.shuffle(opcodes)
    expected: dict[Queue, list[Any]] = {queue: [] for queue in Queue}
    for opcode in opcodes:
        item = {"pc": rng.getrandbits(16), "word": _good(rng, opcode)}
        expected[QUEUE_OF[opcode]].append(item)
        source.put(item)
    used = 0
    while source.queue:
        await cycles(dut)
        used += 1
    check("dispatcher.running", _ends(dut), (0, 0))
    source.put({"pc": 0xBEEF, "word": last})
    for opcode in _opcodes():
        source.put({"pc": 1, "word": _good(rng, opcode)})
    source.put({"pc": 2, "word": 0})
    await source.drained()
    await cycles(dut, 5)
    for queue, sink in zip(Queue, sinks, strict=True):
        check_all(f"dispatcher {queue.name}", sink.received, expected[queue], seed=seed)
    return used - len(opcodes)


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """One instruction a cycle, then HALT: nothing after it passes or is checked."""
    last = _good(random.Random(seeded(1)), Opcode.HALT)
    check("dispatcher.bubbles", await _program(dut, 1, 0.0, 0.0, last) <= 1, True)
    check("dispatcher.halted", _ends(dut), (1, 0))


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
    await _program(dut, 3, 0.7, 0.2, _good(random.Random(seeded(3)), Opcode.HALT))
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
    for index, (word, code, text) in enumerate(_bad_words(rng)):
        dut.rst.value = 1
        dut.instruction__valid.value = 0
        await cycles(dut)
        dut.rst.value = 0
        dut.instruction__valid.value = 1
        good = index % 16 == 0
        opcode = rng.choice(_opcodes())
        if good:
            write(dut, "instruction__payload", ISSUED, {"pc": 9, "word": _good(rng, opcode)})
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
            later = {"pc": pc ^ 1, "word": rng.choice((0, _good(rng, Opcode.HALT)))}
            write(dut, "instruction__payload", ISSUED, later)
            await cycles(dut, 2)
            check("dispatcher.first", read(dut, "error", ERROR), expected, index=index, of=text)
            check("dispatcher.no_halt", int(dut.halted.value), 0, index=index, of=text)
