"""Attention rows for the softmax bench, with what the golden units make of them."""

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.units.requantize import requantize
from golden_model.units.softmax import probabilities, row_scale
from golden_model.units.threshold import threshold
from sim.bench import seeded
from spec.formats import ACC, LOGIT, REQUANTIZE
from spec.isa import ScoreUse
from spec.masks import GROUP_BITS

__all__ = ["Case", "Row", "random_case"]

SPREADS = (0, 40, 300, 1500, 30_000, 200_000)
"""Of the logits of a row, in units of 2**-7 octave; the last one saturates."""


@dataclass
class Row:
    """What comes of one query."""

    probs: list[int]
    """Words of the probability ring."""
    scale: dict[str, int]
    entries: list[list[tuple[int, int]]]
    """Of each bank of a packed ring: probabilities and places of their keys."""
    collected: tuple[ScoreUse, list[int], dict[str, int]] | None = None
    """What it is for besides, its words before their threshold, and its requantizer to SCORE."""


@dataclass
class Case:
    """Commands, their rows, and what must come."""

    banks: int
    pairs: bool = False
    commands: list[dict[str, int]] = field(default_factory=list)
    score_rows: list[list[dict[str, Any]]] = field(default_factory=list)
    """Items of `scores_layout`; those of a pair of queries are one row."""
    rows: list[Row] = field(default_factory=list)
    logit_words: list[dict[str, int]] = field(default_factory=list)
    prob_words: list[dict[str, int]] = field(default_factory=list)
    saturations: int = 0
    cleared: int = 0
    zero_probs: int = 0

    def _clear(self, values: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
        out = threshold(values, limit)
        self.cleared += int((out != values).sum())
        return out

    def _words(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.pad(values, (0, -len(values) % self.banks)).reshape(-1, self.banks)

    def add(self, command: dict[str, int], scores: list[NDArray[np.int64]], seed: int) -> None:
        """One instruction with its rows of raw scores; lanes without a key hold random ones."""
        rng = np.random.default_rng(seeded(seed))
        self.commands.append(command)
        for number, row in enumerate(scores):
            valid = self._words(np.ones_like(row)).astype(bool)
            junk = rng.integers(ACC.low, ACC.high + 1, valid.shape)
            word = np.where(valid, self._words(row), junk)
            groups = np.tile(np.arange(len(valid))[:, None], self.banks)
            use = command["scores"] if number == 0 else ScoreUse.NONE
            self._add(command, word, [valid], groups, use)

    def add_pairs(self, command: dict[str, int], pairs: list[NDArray[np.int64]], seed: int) -> None:
        """One instruction with words of raw scores of pairs of queries, [words * banks] each."""
        rng = np.random.default_rng(seeded(seed))
        self.commands.append(command)
        left = command["rows"]
        for row in pairs:
            if not left:
                break
            raw = self._words(row)
            both = left > 1 and raw.size > 1 and rng.random() < 0.7
            valid = rng.random(raw.shape) < rng.choice((0.2, 0.6, 1.0))
            second = rng.random(raw.shape) < rng.choice((0.1, 0.5, 0.9))
            valid.flat[: 1 + both] = True
            if both:
                second.flat[:2] = (False, True)
            else:
                second[:] = second.flat[0]
            queries = [valid & ~second, valid & second]
            groups = rng.integers(0, 1 << GROUP_BITS, raw.shape)
            self._add(command, raw, [q for q in queries if q.any()], groups, ScoreUse.NONE, second)
            left -= 1 + both

    def _add(
        self,
        command: dict[str, int],
        raw: NDArray[np.int64],
        queries: list[NDArray[np.bool_]],
        groups: NDArray[np.int64],
        use: ScoreUse,
        second: NDArray[np.bool_] | None = None,
    ) -> None:
        """Words of scores [words, banks], the entries of each query, and the places of the keys."""
        valid = np.logical_or.reduce(queries)
        multiplier, shift = command["score_multiplier"], command["score_shift"]
        logits = requantize(raw, 0, multiplier, shift, LOGIT.low, LOGIT.high)
        wide = requantize(raw, 0, multiplier, shift, -(1 << 62), 1 << 62)
        self.saturations += int((logits != wide)[valid].sum())
        logits = self._clear(np.where(valid, logits, 0), command.get("score_threshold", 0))
        words = []
        for at, (word, mask) in enumerate(zip(raw, valid, strict=True)):
            words.append({"values": word, "valid": pack_lanes(mask, 1), "last": at == len(raw) - 1})
            if self.pairs:
                own = second[at] if second is not None else np.zeros(self.banks, bool)
                given = groups[at] if second is not None else np.zeros(self.banks, int)
                words[-1]["tag"] = {"second": pack_lanes(own, 1), "group": given}
        self.score_rows.append(words)
        self.logit_words += [
            {"pc": command["pc"], "data": pack_lanes(word, 16), "mask": pack_lanes(mask, 1)}
            for word, mask in zip(logits, valid, strict=True)
        ]
        for own in queries:
            self._add_row(command, logits, own, groups, use, second is not None)

    def _add_row(
        self,
        command: dict[str, int],
        logits: NDArray[np.int64],
        own: NDArray[np.bool_],
        groups: NDArray[np.int64],
        use: ScoreUse,
        masked: bool,
    ) -> None:
        """What must come of one query."""
        probs = probabilities(logits.reshape(1, -1), own.reshape(1, -1)).reshape(own.shape)
        scale = row_scale(probs.sum(), command["output_multiplier"], command["output_shift"])
        collected = None
        if use != ScoreUse.NONE:
            share = row_scale(probs.sum(), 1 << 15, 1)
            requantizer = {"multiplier": int(share[0]), "shift": int(share[1])}
            collected = (use, [pack_lanes(word, 8) for word in probs], requantizer)
        probs = self._clear(probs, command.get("prob_threshold", 0))
        skips = bool(command.get("skip_zeros", 0))
        kept = own if masked or skips else np.ones_like(own)
        if skips:
            self.zero_probs += int((own & (probs == 0)).sum())
            kept = kept & (probs != 0)
        entries = [
            [(int(p), int(g)) for p, g, k in zip(*columns, strict=True) if k]
            for columns in zip(probs.T, groups.T, kept.T, strict=True)
        ]
        words = [pack_lanes(word, 8) for word in probs]
        requantizer = {"multiplier": int(scale[0]), "shift": int(scale[1])}
        self.rows.append(Row(words, requantizer, entries, collected))
        self.prob_words += [{"pc": command["pc"], "data": word} for word in words]


def pack_lanes(values: NDArray[np.int64], bits: int) -> int:
    """A word of equally wide lanes, lane 0 lowest."""
    return sum((int(value) & (1 << bits) - 1) << bits * lane for lane, value in enumerate(values))


def random_case(
    seed: int,
    *,
    banks: int,
    row_counts: list[int],
    max_keys: int,
    min_keys: int = 1,
    thresholds: bool = False,
    pairs: bool = False,
    skip_zeros: bool = False,
    first_masked: int = 0,
) -> Case:
    """Instructions with `row_counts` rows each; logits of all spreads, equal ones, ties.

    With `pairs` most of those from `first_masked` on follow lists.
    """
    rng, numbers = random.Random(seeded(seed)), np.random.default_rng(seeded(seed))
    case = Case(banks, pairs)
    shifts = (16, 20, 24, 15, 0, 8, REQUANTIZE.max_shift)
    for index, count in enumerate(row_counts):
        shift = shifts[(index + seed) % len(shifts)]
        command = {
            "pc": rng.getrandbits(16),
            "rows": count,
            "score_multiplier": rng.choice((1 << 15, rng.randrange(1 << 15, 1 << 16))),
            "score_shift": shift,
            "output_multiplier": rng.randrange(1 << 15, 1 << 16),
            "output_shift": rng.randint(1, 30),
            "scores": list(ScoreUse)[(index + seed) % 3],
        }
        if thresholds:
            command["score_threshold"] = rng.choice((0, 30, 200, 5000, 32767))
            command["prob_threshold"] = rng.choice((0, 1, 30, 200, 254, 255 - skip_zeros))
        if skip_zeros:
            command["skip_zeros"] = rng.getrandbits(1)
        if pairs:
            command["masked"] = int(index % 4 != 3 and index >= first_masked)
        rows = []
        for at in range(count):
            keys = rng.randint(min_keys, max_keys)
            spread = SPREADS[(at + index) % len(SPREADS)]
            raw = (spread << shift) >> 15
            middle = numbers.integers(-(1 << 14), 1 << 14)
            row = (middle if spread < 30_000 else 0) * (1 << shift) // (1 << 15)
            row = row + numbers.integers(-raw, raw + 1, keys)
            rows.append(np.clip(row, ACC.low, ACC.high))
        if command.get("masked"):
            case.add_pairs(command, rows, seed)
        else:
            case.add(command, rows, seed)
    return case
