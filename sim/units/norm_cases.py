"""NORMALIZE instructions for the LayerNorm bench, with what the golden unit makes of them."""

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.units.layer_norm import layer_norm
from sim.bench import seeded
from spec.formats import NORM, RESIDUAL

__all__ = ["Case", "random_case"]


@dataclass
class Case:
    """Commands, memories, and what must come."""

    lanes: int
    tables: list[dict[str, int]]
    """TABLE_ENTRYs of all tables; all 0 beyond a LayerNorm's channels."""
    commands: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[int, int] = field(default_factory=dict)
    writes: list[dict[str, int]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    """Semaphore of each credit that must be taken."""
    credits: list[tuple[str, int, int]] = field(default_factory=list)
    """Kind, index or mask, and how many writes must have been done."""

    def _words(self, values: NDArray[np.int64], bits: int) -> list[int]:
        lanes = self.lanes * 8 // bits
        blocks = -(-len(values) // self.lanes) * self.lanes
        words = np.pad(values, (0, blocks - len(values))).reshape(-1, lanes)
        mask = (1 << bits) - 1
        return [sum((int(v) & mask) << bits * at for at, v in enumerate(word)) for word in words]

    def add(self, command: dict[str, Any], rows: list[NDArray[np.int64]]) -> None:
        """One instruction over `rows`."""
        channels, index = command["channels"], len(self.commands)
        first = command["table"] * self.lanes
        entries = self.tables[first : first + channels]
        gain, offset, shift = (
            np.array([entry[name] for entry in entries])
            for name in ("multiplier", "addend", "shift")
        )
        gain = np.where(gain >> 15, gain - (1 << 16), gain)
        self.commands.append(command)
        for at, row in enumerate(rows):
            if command["token_wait"]["valid"]:
                self.tokens.append(command["token_wait"]["index"])
            for word, value in enumerate(self._words(row, 16)):
                self.memory[command["source"] + at * command["source_stride"] + word] = value
            out = layer_norm(row, gain, offset, shift, command["epsilon"])
            for word, value in enumerate(self._words(out, 8)):
                self.writes.append(
                    {
                        "address": command["target"] + at * command["target_stride"] + word,
                        "data": value,
                        "mask": (1 << self.lanes) - 1,
                        "pc": index,
                    }
                )
            if command["token_signal"]["valid"]:
                self.credits.append(("token", command["token_signal"]["index"], len(self.writes)))
        self.credits.append(("mask", command["signal"], len(self.writes)))


def _row(rng: random.Random, numbers: np.random.Generator, channels: int) -> NDArray[np.int64]:
    """A residual row: equal values, extremes, one outlier, tiny or large ones."""
    kind = rng.randrange(8)
    if kind == 0:
        return np.full(channels, rng.choice((0, 1, -1, RESIDUAL.low, RESIDUAL.high, 77)))
    if kind == 1:
        return np.where(np.arange(channels) % 2, RESIDUAL.low, RESIDUAL.high)
    if kind == 2:
        row = numbers.integers(-3, 4, channels)
        row[rng.randrange(channels)] = rng.choice((RESIDUAL.low, RESIDUAL.high))
        return row
    if kind == 3:
        return numbers.integers(RESIDUAL.low, RESIDUAL.high + 1, channels)
    if kind == 4:
        return numbers.integers(-2, 3, channels)
    row = numbers.normal(rng.randrange(-4000, 4000), 10 ** rng.uniform(0, 4), channels)
    return np.clip(row.astype(np.int64), RESIDUAL.low, RESIDUAL.high)


def random_case(
    seed: int,
    *,
    lanes: int,
    norm_tables: int,
    channels: int,
    row_counts: list[int],
    signals: bool | None = None,
) -> Case:
    """Instructions with `row_counts` rows each, all of one width, over one of two tables."""
    rng, numbers = random.Random(seeded(seed)), np.random.default_rng(seeded(seed))
    blocks = -(-channels // lanes)
    tables: list[dict[str, int]] = [{}] * (norm_tables * lanes)
    places = (norm_tables - blocks, 0) if norm_tables >= 2 * blocks else (norm_tables - blocks,)
    for place in places:
        fraction = NORM.fraction_bits(channels)
        for lane in range(channels):
            shift = rng.randint(fraction + 3, fraction + 9)
            gain = rng.choice((1, -1)) * rng.randrange(1 << 7, 1 << 15)
            corner = rng.random() < 0.05
            tables[place * lanes + lane] = {
                "multiplier": gain & 0xFFFF,
                "addend": rng.randint(-(1 << 31), (1 << 31) - 1)
                if corner
                else rng.randint(-(1 << shift + 4), 1 << shift + 4),
                "shift": rng.choice((0, 31, 35, 48)) if corner else shift,
            }
    case = Case(lanes, tables)
    source, target = rng.randrange(50), 1 << 15
    for index, rows in enumerate(row_counts):
        wait, signal = (rng.random() < 0.5 if signals is None else signals for _ in range(2))
        command = {
            "pc": index,
            "source": source,
            "source_stride": 2 * blocks + rng.randrange(3),
            "target": target,
            "target_stride": blocks + rng.randrange(3),
            "channels": channels,
            "rows": rows,
            "table": rng.choice(places),
            "epsilon": rng.choice((0, 1, (1 << 32) - 1, rng.getrandbits(32))),
            "fraction_bits": NORM.fraction_bits(channels),
            "token_wait": {"index": rng.randrange(16), "valid": int(wait)},
            "token_signal": {"index": rng.randrange(16), "valid": int(signal)},
            "signal": rng.getrandbits(16),
        }
        case.add(command, [_row(rng, numbers, channels) for _ in range(rows)])
        source += rows * command["source_stride"]
        target += rows * command["target_stride"]
    return case
