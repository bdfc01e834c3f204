"""Rows of scalars with zeros for the index engine's search, and what it must make of them."""

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

from sim.streams import check

__all__ = ["Row", "Search", "check_steps", "model_steps", "rows_of"]


@dataclass(frozen=True, kw_only=True)
class Search:
    """One instruction: `rows` rows of `depth` scalars."""

    base: int
    depth: int
    zero_point: int
    rows: list["Row"]

    def walk(self) -> dict[str, int]:
        """A row's walk."""
        search = {"search": 1, "zero_point": self.zero_point, "base": self.base, "offset": 0}
        return {**search, "count": self.depth, "stride": 1, "words": 1}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Operand words, and the scalars to take: for each word and bank (address, code)."""

    words: list[dict[str, int]]
    taken: list[list[list[tuple[int, int]]]]

    def scalars(self) -> int:
        """How many there are."""
        return sum(len(bank) for word in self.taken for bank in word)

    def of_bank(self, bank: int) -> list[tuple[int, int]]:
        """In order."""
        return [each for word in self.taken for each in word[bank]]


def rows_of(
    rng: random.Random, *, banks: int, lanes: int, count: int, depth: int, zeros: float
) -> Search:
    """Make random rows; scalars beyond `depth` in the last word are never the zero point."""
    base, zero_point = rng.randrange(1 << 16), rng.choice((0, -128, 127, rng.randint(-128, 127)))
    rows = []
    for _ in range(count):
        words, taken = [], []
        for first in range(0, depth, lanes):
            codes = []
            own: list[list[tuple[int, int]]] = [[] for _ in range(banks)]
            for lane in range(lanes):
                zero = first + lane < depth and rng.random() < zeros
                others = [
                    code for code in (-128, 127, rng.randint(-128, 127)) if code != zero_point
                ]
                code = zero_point if zero else rng.choice(others)
                codes.append(code % 256)
                if code != zero_point and first + lane < depth:
                    channel = first + lane
                    own[channel % banks].append((base + channel // banks, code - zero_point))
            last = int(first + lanes >= depth)
            words.append({"data": int.from_bytes(bytes(codes), "little"), "last": last})
            taken.append(own)
        rows.append(Row(words=words, taken=taken))
    return Search(base=base, depth=depth, zero_point=zero_point, rows=rows)


def model_steps(search: Search, banks: int, view: int) -> list[int]:
    """Return the steps of each row when a word comes every cycle and no step waits."""
    coming = deque(
        (number, [len(bank) for bank in word])
        for number, row in enumerate(search.rows)
        for word in row.taken
    )
    missing = [len(row.words) for row in search.rows]
    steps = [0] * len(search.rows)
    seen: deque[tuple[int, list[int]]] = deque()
    while coming or seen:
        room = len(seen) < view
        if seen:
            row = seen[0][0]
            own = [left for number, left in seen if number == row]
            held = sum(map(sum, own))
            for bank in range(banks):
                for left in own:
                    if left[bank]:
                        left[bank] -= 1
                        break
            complete = len(own) == missing[row]
            steps[row] += bool(held or (complete and not steps[row]))
            while seen and seen[0][0] == row and not any(seen[0][1]):
                seen.popleft()
                missing[row] -= 1
        if room and coming:
            seen.append(coming.popleft())
    return steps


def check_steps(search: Search, steps: list[dict[str, Any]], banks: int, seed: int) -> list[int]:
    """Compare steps with the rows; return the number of each row's."""
    at, counts = 0, []
    for index, row in enumerate(search.rows):
        got: list[list[tuple[int, int]]] = [[] for _ in range(banks)]
        first = at
        while True:
            check("index_engine.steps", at < len(steps), True, seed=seed, index=index)
            step = steps[at]
            check("index_engine.first", step["first"], int(at == first), seed=seed, index=index)
            marks = [step[name] for name in ("sparse", "group_first", "group_last")]
            check("index_engine.marks", marks, [1, 1, 1], seed=seed, index=index)
            for bank in range(banks):
                if step["valid"] >> bank & 1:
                    got[bank].append((step["address"][bank], step["code"][bank]))
            at += 1
            if step["last"]:
                break
            check("index_engine.idle", step["valid"] != 0, True, seed=seed, index=index)
        for bank in range(banks):
            check("index_engine.scalars", got[bank], row.of_bank(bank), seed=seed, index=index)
        alone = row.scalars() == 0
        check("index_engine.last", steps[at - 1]["valid"] == 0, alone, seed=seed, index=index)
        counts.append(at - first)
    check("index_engine.all", at, len(steps), seed=seed)
    return counts
