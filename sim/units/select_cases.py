"""SELECT instructions for the token selector's bench, with what the golden units make of them."""

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.units.select_tokens import kept_rows, moved_origins, select_tokens
from golden_model.units.token_score import classifier_score
from sim.bench import seeded
from spec.formats import RESIDUAL, SCORE, SELECTOR
from spec.isa import Package, Scores

__all__ = ["SOURCE", "Case", "logits_for"]

SOURCE, KEEP, ATTEND = 40, 9000, 14_000
"""Where rows and logits lie."""
LOGIT = np.iinfo(np.int16)


def logits_for(kind: str, count: int, heads: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Keep and attention logits of `count` rows: int16 [count, heads] each.

    kind : "all", "none" (scores at their ends), "tie" (many equal scores), "random" or "wild"
    """
    numbers = np.random.default_rng(seeded(seed))
    attend = numbers.integers(-1400, 1400, (count, heads))
    if kind in ("all", "none"):
        keep = np.full((count, heads), LOGIT.max if kind == "all" else LOGIT.min)
    elif kind == "tie":
        keep = np.repeat(numbers.choice((-40, 0, 40), (count, 1)), heads, axis=1)
    elif kind == "wild":
        keep = numbers.integers(LOGIT.min, LOGIT.max + 1, (count, heads))
        attend = numbers.integers(LOGIT.min, LOGIT.max + 1, (count, heads))
        attend[numbers.random(count) < 0.2] = LOGIT.min
    else:
        keep = numbers.integers(-300, 300, (count, heads))
    return keep.astype(np.int64), attend.astype(np.int64)


@dataclass
class Case:
    """Commands over one token memory, and what must come."""

    lanes: int
    words: int
    rows: NDArray[np.int64]
    """RESIDUAL [rows, channels]: the rows that are alive now."""
    packages: int = 0
    stride: int = 0
    first_tokens: int = 0
    memory: dict[int, int] = field(default_factory=dict)
    commands: list[dict[str, Any]] = field(default_factory=list)
    writes: list[dict[str, int]] = field(default_factory=list)
    results: list[tuple[int, int]] = field(default_factory=list)
    """Live rows and package rows after each."""
    moving: list[int] = field(default_factory=list)
    """Rows from the first dropped one on."""
    setups: list[dict[int, int]] = field(default_factory=list)
    """Words of memory that each command finds anew."""
    scores: list[NDArray[np.int64]] = field(default_factory=list)
    origins: list[list[int]] = field(default_factory=list)
    """Of the live rows, after each; at first every row is itself."""

    @classmethod
    def random(cls, seed: int, *, lanes: int, words: int, rows: int) -> "Case":
        """Rows of random channels, some at the ends of the format."""
        numbers = np.random.default_rng(seeded(seed))
        values = numbers.integers(RESIDUAL.low, RESIDUAL.high + 1, (rows, words * lanes // 2))
        ends = numbers.random(rows) < 0.3
        values[ends] = numbers.choice((RESIDUAL.low, RESIDUAL.high), (int(ends.sum()), 1))
        case = cls(lanes, words, values, stride=words + seed % 3, first_tokens=rows)
        for token, row in enumerate(values):
            for word, bits in enumerate(case.pack(row)):
                case.memory[SOURCE + token * case.stride + word] = bits
        return case

    def pack(self, row: NDArray[np.int64]) -> list[int]:
        """Words of int16 channels."""
        per_word = self.lanes // 2
        padded = np.pad(row, (0, -len(row) % per_word)).reshape(-1, per_word)
        return [
            sum((int(value) & 0xFFFF) << 16 * at for at, value in enumerate(word))
            for word in padded
        ]

    def add(
        self,
        keep: NDArray[np.int64] | None,
        attend: NDArray[np.int64] | None,
        *,
        threshold: int,
        prefix: int = 1,
        package: Package = Package.WEIGHTED,
        each: bool = False,
        weight_shift: int | None = None,
        more: bool = False,
        scores: NDArray[np.int64] | None = None,
    ) -> None:
        """One SELECT of the rows that are alive; logits of all rows, or collected scores."""
        live, pc = len(self.rows), len(self.commands)
        heads = 0 if keep is None else keep.shape[1]
        setup: dict[int, int] = {}
        if keep is not None and attend is not None:
            scores = classifier_score(keep, attend)
            per_word = self.lanes // 2
            stride = -(-heads // per_word) + pc % 2
            for base, values in ((KEEP, keep), (ATTEND, attend)):
                for token, row in enumerate(values):
                    for word, bits in enumerate(self.pack(row)):
                        setup[base + token * stride + word] = bits
        else:
            stride = 1
        assert scores is not None
        if weight_shift is None:
            weight_shift = SELECTOR.weight_shift(threshold)
        rule = {
            "threshold": threshold,
            "prefix": prefix,
            "packages": self.packages,
            "package": package,
            "each": each,
        }
        self.setups.append(setup)
        self.scores.append(np.minimum(scores, SCORE.high))
        self.commands.append(
            {
                "pc": pc,
                "rows": live,
                "source": SOURCE,
                "stride": self.stride,
                "words": self.words,
                "keep": KEEP,
                "attend": ATTEND,
                "score_stride": stride,
                "heads": heads,
                "weight_shift": weight_shift,
                "scores": Scores.CLASSIFIER if heads else Scores.CLS_ATTENTION,
                **rule,
                "each": int(each),
                "more": int(more),
            }
        )
        kept = kept_rows(scores, **rule)
        rows, same, packages = select_tokens(
            self.rows.astype(np.int16), scores, **rule, weight_shift=weight_shift
        )
        assert (kept == same).all()
        gone = int(np.argmin(kept)) if not kept.all() else live
        self.moving.append(live - gone)
        before = self.origins[-1] if self.origins else list(range(live))
        number = self.first_tokens + (self.packages if each else 0)
        room = np.array([*before, 0])
        after = moved_origins(room, kept, len(rows), number)
        self.origins.append(before if more else after[: len(rows)].tolist())
        self.rows, self.packages = rows.astype(np.int64), packages
        self.results.append((len(rows), packages))
        for word in range(self.words):
            for token in range(gone, len(rows)):
                self.writes.append(
                    {
                        "address": SOURCE + token * self.stride + word,
                        "data": self.pack(self.rows[token])[word],
                        "mask": (1 << self.lanes) - 1,
                        "pc": pc,
                    }
                )


def random_rule(rng: random.Random) -> dict[str, Any]:
    """A threshold that keeps some, and any package."""
    return {
        "threshold": rng.choice((8192, 8192 - 64, 8192 + 64, 7000, 9001)),
        "package": rng.choice(list(Package)),
    }
