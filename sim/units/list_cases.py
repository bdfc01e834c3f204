"""Random lists of kept scores, and what the golden machine finds in them."""

import random
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.machine_lists import kept_pairs
from golden_model.machine_memory import MachineError, Memories
from sim.bench import seeded
from spec.masks import LIST_ENTRY
from spec.presets import preset
from spec.registers import Error

__all__ = ["FAULTS", "Lists", "random_lists"]

FAULTS = ("none", "no steps", "too many steps", "header", "short", "cut", "no key")
"""How lists can be wrong; the last two: words are missing, and a live query keeps no key."""
_SECOND, _VALID = (1 << LIST_ENTRY[name].offset for name in ("second", "valid"))


@dataclass(kw_only=True)
class Lists:
    """An instruction's lists and what must come of them."""

    address: int
    words: int
    rows: int
    keys: int
    origin: list[int]
    present: NDArray[np.bool_]
    memory: NDArray[np.uint8]
    """Token memory, [words, lanes]"""
    error: bool = False
    pairs: list[dict[str, int]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    masked: int = 0
    words_used: int = 0
    passed: int = 0
    """Steps of the list that belong to pairs without a live query."""


def _pair(rng: np.random.Generator, banks: int, most: int, needed: bool) -> NDArray[np.uint8]:
    """Steps of a pair: random entries; if `needed`, one of each query at place 0."""
    steps = int(rng.integers(2 if needed else 1, most + 1))
    entries = rng.integers(0, 256, (steps, banks)).astype(np.uint8)
    if needed:
        entries[rng.permutation(steps)[:2], rng.integers(0, banks)] = (_VALID, _VALID | _SECOND)
    return entries


def random_lists(
    seed: int, *, banks: int, lanes: int, most: int, pairs: int = 9, fault: str = "none"
) -> Lists:
    """Lists of `pairs` pairs of which some are dead, with what is wrong with them."""
    rng, choice = np.random.default_rng(seeded(seed)), random.Random(seeded(seed))
    alive = [choice.random() < 0.6 for _ in range(2 * pairs)]
    alive[-1] = alive[-1] or not any(alive)
    victim = -1
    origin = [token for token, lives in enumerate(alive) if lives]
    if fault == "no key":
        victim = choice.choice(origin)
    found: list[NDArray[np.uint8]] = []
    for number in range(pairs):
        steps = _pair(rng, banks, min(most, 5), True)
        if fault == "no key" and number == victim // 2:
            own = (steps & _SECOND != 0) == bool(victim % 2)
            steps[own] &= ~np.uint8(_VALID)
        header = np.zeros((1, banks), np.uint8)
        header[0, 0] = len(steps)
        found += [header, steps]
    if fault in ("no steps", "too many steps", "header"):
        bad = found[2 * choice.randrange((origin[-1] // 2) + 1)][0]
        value = {"no steps": 0, "too many steps": most + 1, "header": bad[0]}[fault]
        bad[0] = value
        bad[-1] |= fault == "header"
    steps = np.concatenate(found)
    if fault == "short":
        used = sum(len(part) for part in found[: 2 * (origin[-1] // 2 + 1)])
        steps = steps[: used - 1 - (used - 1) % (lanes // banks)]
    if fault == "cut":
        steps = steps[: len(steps) // 2]
        origin[-1] = 2 * pairs - 1
    words = -(-len(steps) * banks // lanes)
    content = np.zeros((words * lanes // banks, banks), np.uint8)
    content[: len(steps)] = steps
    address = int(rng.integers(0, 20))
    memory = rng.integers(0, 256, (address + words + 8, lanes)).astype(np.uint8)
    memory[address : address + words] = content.reshape(words, lanes)
    present = rng.random((banks, 64)) < 0.7
    present[:, 0] = True
    case = Lists(
        address=address,
        words=words,
        rows=len(origin),
        keys=int(rng.integers(len(origin), 100)),
        origin=origin,
        present=present,
        memory=memory,
    )
    _expect(case, banks, lanes, most)
    return case


def _expect(case: Lists, banks: int, lanes: int, most: int) -> None:
    """Ask the golden machine."""
    config = replace(
        preset("tiny"),
        name="lists",
        banks=banks,
        lanes=lanes,
        vector_lanes=lanes,
        norm_lanes=lanes,
        score_lanes=banks,
        score_words=most,
        prob_words=most,
        token_words=len(case.memory),
    )
    golden = Memories(config, {})
    golden.token[:] = case.memory
    golden.present[:] = case.present
    golden.origin[: case.rows] = case.origin
    golden.sieve = {**golden.sieve, "lists": case.address, "list_words": case.words}
    try:
        pairs = kept_pairs(golden, case.rows)
    except MachineError as error:
        case.error = error.code == Error.INDEX
        return
    raw = case.memory[case.address : case.address + case.words].reshape(-1, banks)
    at = 0
    for count, live in zip(pairs.steps, pairs.queries, strict=True):
        entries = raw[at + 1 : at + 1 + count]
        at += 1 + count
        case.passed += 0 if live else 1 + count
        if not live:
            continue
        case.pairs.append({"steps": count, "both": int(len(live) == 2)})
        kept = np.logical_or.reduce([pairs.kept[row] for row in live])
        for step, own in zip(entries, kept, strict=True):
            case.entries.append(
                {
                    "valid": sum(int(bit) << bank for bank, bit in enumerate(own)),
                    "tag": {
                        "second": sum(bool(e & _SECOND) << bank for bank, e in enumerate(step)),
                        "group": [int(e) & 63 for e in step],
                    },
                }
            )
    case.masked = case.rows * case.keys - sum(int(kept.sum()) for kept in pairs.kept)
    case.words_used = -(-pairs.list_steps * banks // lanes)
