"""Instruction words for the dispatcher's bench: good ones, and every way to be bad."""

import random
from collections.abc import Iterator
from typing import Any

from sim.bench import parameters
from sim.streams import pack
from spec.config import SIEVES
from spec.formats import NORM, PROB, REQUANTIZE, SELECTOR
from spec.isa import BODIES, HEADER, QUEUE_OF, Activation, Destination, Opcode, Package
from spec.registers import Error
from spec.semaphores import CONSUMER_OF, PRODUCER_OF, SEMAPHORE_COUNT, Queue, Semaphore

__all__ = ["bad_words", "good", "good_body", "good_header", "has", "opcodes", "word_of"]

_NONE = {"index": 0, "valid": 0}
_TRANSFERS = (Opcode.LOAD_TOKENS, Opcode.STORE_TOKENS)
_ROWLESS = (Opcode.LIVE, Opcode.SELECT)
"""Instructions without a credit a row."""
_SETTINGS = (Opcode.HEAD_SCALES, Opcode.SIEVE)
"""Instructions that give no credits at all."""
_LIMITS = ("threshold", "score_threshold", "prob_threshold", "context_threshold")


def _head_groups() -> int:
    return parameters().get("head_groups", 1)


def has(option: str) -> bool:
    """Whether the machine under test has a part that not all have."""
    return parameters().get(option, False)


def opcodes() -> list[Opcode]:
    """Those that belong to a queue of this machine."""
    missing = {Opcode.HEAD_SCALES} if _head_groups() == 1 else set()
    if not has("token_selector"):
        missing.add(Opcode.SELECT)
    if not any(has(name) for name in SIEVES):
        missing.add(Opcode.SIEVE)
    return [each for each in QUEUE_OF if each not in missing]


def _ending() -> list[Opcode]:
    """Those that belong to no queue."""
    return [Opcode.HALT, Opcode.GATE] if has("effort_gate") else [Opcode.HALT]


def _owned(of: dict[Semaphore, Queue], queue: Queue) -> list[int]:
    return [semaphore.value for semaphore, owner in of.items() if owner is queue]


def _rows(rng: random.Random) -> dict[str, int]:
    """A row count that is allowed; from the live tokens any number may be taken off."""
    most = parameters()["max_tokens"]
    if rng.random() < 0.3:
        return {"count": rng.choice((0, most, 4095)), "live": 1}
    return {"count": rng.choice((1, most, rng.randrange(1, most + 1))), "live": 0}


def good_body(rng: random.Random, opcode: Opcode) -> dict[str, Any]:
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
            "broadcast": rng.randrange(1 + has("token_selector")),
        }
    elif opcode is Opcode.ATTENTION:
        longest = min(p["max_head_words"] * lanes, 255)
        head_dim = rng.choice((1, lanes, lanes - 1, min(lanes + 1, longest), longest))
        spare = max(lanes - head_dim, 0)
        body |= {
            "head_dim": head_dim,
            "head_words": -(-head_dim // lanes),
            "first_lane": rng.choice((0, spare, rng.randrange(spare + 1))),
            "scores": rng.randrange(1 + 2 * has("cls_scores")),
        }
    elif opcode is Opcode.NORMALIZE:
        body["channels"] = rng.choice((1, NORM.max_channels, rng.randint(1, NORM.max_channels)))
    elif opcode is Opcode.LIVE:
        body["tokens"] = rng.choice((1, p["max_tokens"]))
    elif opcode is Opcode.LOAD_WEIGHTS and not has("token_selector"):
        body["live_above"] = 0
    elif opcode in _TRANSFERS and not has("token_selector"):
        body["live"] = 0
    elif opcode is Opcode.SELECT:
        heads = min(lanes, SELECTOR.max_heads)
        collects = rng.randrange(1 + has("cls_scores"))
        body |= {
            "words": rng.choice((1, 255, body["words"] | 1)),
            "scores": collects,
            "heads": body["heads"] if collects else rng.choice((1, heads)),
            "package": rng.randrange(len(Package)),
        }
    elif opcode is Opcode.SIEVE:
        masks = has("attention_masks")
        body |= {"skip_zeros": body["skip_zeros"] & has("zero_skip")}
        body |= {name: body[name] & masks for name in ("masked", "placed", "forget")}
        if body["masked"]:
            body |= {"placed": 1, "list_words": body["list_words"] | 1}
        if not has("thresholds"):
            body |= dict.fromkeys(_LIMITS, 0)
        elif body["prob_threshold"] == PROB.high:
            body["prob_threshold"] -= 1
    elif opcode is Opcode.GATE:
        body |= {
            "classes": rng.choice((1, 0xFFFF, body["classes"] | 1)),
            "shift": rng.choice((0, REQUANTIZE.max_shift, rng.randint(0, REQUANTIZE.max_shift))),
        }
    if "further_groups" in body:
        body["further_groups"] = rng.randrange(_head_groups())
    return body


def good_header(rng: random.Random, opcode: Opcode) -> dict[str, Any]:
    """Credits of the opcode's own semaphores only; an invalid token index may be anything."""
    header: dict[str, Any] = {"opcode": opcode}
    if has("token_selector"):
        header["row_limit"] = rng.choice((0, 4095, rng.getrandbits(12)))
    for name, token, of in (
        ("wait", "token_wait", CONSUMER_OF),
        ("signal", "token_signal", PRODUCER_OF),
    ):
        if opcode in (Opcode.GATE, Opcode.HALT):
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


def word_of(opcode: Opcode, header: dict[str, Any], body: dict[str, Any]) -> int:
    """Bits of an instruction; fields may break the rules as long as they fit."""
    return pack(HEADER, header) | pack(BODIES[opcode], body) << HEADER.size


def good(rng: random.Random, opcode: Opcode) -> int:
    """A random word that the dispatcher accepts."""
    return word_of(opcode, good_header(rng, opcode), good_body(rng, opcode))


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
        yield from () if has("token_selector") else ({"broadcast": 1},)
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
        yield from ({"scores": use} for use in range(1 + 2 * has("cls_scores"), 4))
    elif opcode is Opcode.NORMALIZE:
        yield from ({"rows": rows} for rows in wrong)
        yield from ({"channels": channels} for channels in (0, NORM.max_channels + 1, 4095))
    elif opcode is Opcode.LIVE:
        yield from ({"tokens": tokens} for tokens in (0, most + 1, 4095))
    elif opcode is Opcode.LOAD_WEIGHTS and not has("token_selector"):
        yield from ({"live_above": tokens} for tokens in (1, 4095))
    elif opcode in _TRANSFERS and not has("token_selector"):
        yield {"live": 1}
    elif opcode is Opcode.SELECT:
        yield from ({"words": 0}, {"package": 3})
        for heads in (0, min(lanes, SELECTOR.max_heads) + 1, 31):
            yield {"heads": heads, "scores": 0}
        yield from () if has("cls_scores") else ({"scores": 1},)
    elif opcode is Opcode.SIEVE:
        yield {"prob_threshold": PROB.high}
        yield from () if has("zero_skip") else ({"skip_zeros": 1},)
        yield from () if has("thresholds") else ({name: 1} for name in _LIMITS)
        if has("attention_masks"):
            yield {"masked": 1, "placed": 0, "list_words": 1}
            yield {"masked": 1, "placed": 1, "list_words": 0}
        else:
            yield from ({"placed": 1}, {"forget": 1})
            yield {"masked": 1, "placed": 1, "list_words": 1}
    elif opcode is Opcode.GATE:
        yield from ({"classes": 0}, {"shift": REQUANTIZE.max_shift + 1}, {"shift": 63})


def bad_words(rng: random.Random) -> Iterator[tuple[int, Error, str]]:
    """Every kind of refused word, with its error and a description."""
    every = [*opcodes(), *_ending()]
    defined = {opcode.value for opcode in every}
    for value in range(256):
        if value not in defined:
            opcode = rng.choice(every)
            yield good(rng, opcode) & ~0xFF | value, Error.OPCODE, f"opcode {value}"
    for opcode in every:
        for bit in range(HEADER["reserved"].width):
            header = good_header(rng, opcode) | {"reserved": 1 << bit}
            word = word_of(opcode, header, good_body(rng, opcode))
            yield word, Error.OPCODE, f"{opcode.name} reserved bit {bit}"
        if not has("token_selector"):
            for limit in (1, 1 << 11):
                header = good_header(rng, opcode) | {"row_limit": limit}
                word = word_of(opcode, header, good_body(rng, opcode))
                yield word, Error.OPERAND, f"{opcode.name} row_limit {limit}"
        for wrong in _bad_bodies(opcode):
            body = good_body(rng, opcode) | wrong
            header = good_header(rng, opcode)
            yield word_of(opcode, header, body), Error.OPERAND, f"{opcode.name} {wrong}"
            if opcode in QUEUE_OF:
                bad_header = header | {"wait": 0xFFFF}
                text = f"{opcode.name} {wrong}, bad semaphores"
                yield word_of(opcode, bad_header, body), Error.OPERAND, text
                text = f"{opcode.name} {wrong}, bad semaphores, reserved"
                yield word_of(opcode, bad_header | {"reserved": 1}, body), Error.OPCODE, text
    for opcode in opcodes():
        queue = QUEUE_OF[opcode]
        for name, of in (("wait", CONSUMER_OF), ("signal", PRODUCER_OF)):
            own = set() if opcode in _SETTINGS and name == "signal" else _owned(of, queue)
            for index in set(range(SEMAPHORE_COUNT)) - set(own):
                for wrong in (
                    {name: 1 << index},
                    {f"token_{name}": {"index": index, "valid": 1}},
                ):
                    header = good_header(rng, opcode)
                    if name in wrong:
                        wrong = {name: header[name] | wrong[name]}
                    word = word_of(opcode, header | wrong, good_body(rng, opcode))
                    rowless = opcode in _ROWLESS and name not in wrong
                    code = Error.OPERAND if rowless else Error.SEMAPHORE
                    yield word, code, f"{opcode.name} {wrong}"
