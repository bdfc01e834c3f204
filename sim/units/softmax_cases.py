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

__all__ = ["Case", "Row", "random_case"]

SPREADS = (0, 40, 300, 1500, 30_000, 200_000)
"""Of the logits of a row, in units of 2**-7 octave; the last one saturates."""


@dataclass
class Row:
    """One row: words in and out."""

    scores: list[dict[str, Any]]
    """Items of `scores_layout`."""
    probs: list[int]
    """Words of the probability ring."""
    scale: dict[str, int]
    collected: tuple[ScoreUse, list[int], dict[str, int]] | None = None
    """What it is for besides, its words before their threshold, and its requantizer to SCORE."""


@dataclass
class Case:
    """Commands, their rows, and what must come."""

    banks: int
    commands: list[dict[str, int]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    logit_words: list[dict[str, int]] = field(default_factory=list)
    prob_words: list[dict[str, int]] = field(default_factory=list)
    saturations: int = 0
    cleared: int = 0

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
        multiplier, shift = command["score_multiplier"], command["score_shift"]
        for number, row in enumerate(scores):
            logits = requantize(row, 0, multiplier, shift, LOGIT.low, LOGIT.high)
            wide = requantize(row, 0, multiplier, shift, -(1 << 62), 1 << 62)
            self.saturations += int((logits != wide).sum())
            logits = self._clear(logits, command.get("score_threshold", 0))
            probs = probabilities(logits)
            scale = row_scale(probs.sum(), command["output_multiplier"], command["output_shift"])
            collected = None
            if number == 0 and command["scores"] != ScoreUse.NONE:
                share = row_scale(probs.sum(), 1 << 15, 1)
                requantizer = {"multiplier": int(share[0]), "shift": int(share[1])}
                raw = [pack_lanes(word, 8) for word in self._words(probs)]
                collected = (command["scores"], raw, requantizer)
            probs = self._clear(probs, command.get("prob_threshold", 0))
            masks = self._words(np.ones_like(row))
            junk = rng.integers(ACC.low, ACC.high + 1, masks.shape)
            raw = np.where(masks == 1, self._words(row), junk)
            mask_bits = [pack_lanes(mask, 1) for mask in masks]
            prob_words = [pack_lanes(word, 8) for word in self._words(probs)]
            self.rows.append(
                Row(
                    [
                        {"values": word, "valid": mask, "last": at == len(raw) - 1}
                        for at, (word, mask) in enumerate(zip(raw, mask_bits, strict=True))
                    ],
                    prob_words,
                    {"multiplier": int(scale[0]), "shift": int(scale[1])},
                    collected,
                )
            )
            self.logit_words += [
                {"pc": command["pc"], "data": pack_lanes(word, 16), "mask": mask}
                for word, mask in zip(self._words(logits), mask_bits, strict=True)
            ]
            self.prob_words += [{"pc": command["pc"], "data": word} for word in prob_words]


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
) -> Case:
    """Instructions with `row_counts` rows each; logits of all spreads, equal ones, ties."""
    rng, numbers = random.Random(seeded(seed)), np.random.default_rng(seeded(seed))
    case = Case(banks)
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
            command["prob_threshold"] = rng.choice((0, 1, 30, 200, 254, 255))
        rows = []
        for at in range(count):
            keys = rng.randint(min_keys, max_keys)
            spread = SPREADS[(at + index) % len(SPREADS)]
            raw = (spread << shift) >> 15
            middle = numbers.integers(-(1 << 14), 1 << 14)
            row = (middle if spread < 30_000 else 0) * (1 << shift) // (1 << 15)
            row = row + numbers.integers(-raw, raw + 1, keys)
            rows.append(np.clip(row, ACC.low, ACC.high))
        case.add(command, rows, seed)
    return case
