"""Random work for the epilogue and what must come of it, from the golden units."""

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from golden_model.units.gelu import gelu_activation
from golden_model.units.requantize import requantize
from golden_model.units.residual_add import residual_add
from golden_model.units.threshold import threshold
from sim.bench import seeded
from spec.formats import ACT, RESIDUAL
from spec.isa import PARTIAL_WORDS, Activation, Destination

__all__ = ["Case", "Credit", "random_case"]

INT8_FULL = {"low": ACT.low - 1, "high": ACT.high}
INT16 = {"low": RESIDUAL.low, "high": RESIDUAL.high}


@dataclass
class Credit:
    """A credit, and the number of writes that must have been taken just before."""

    kind: str
    value: int
    writes: int


@dataclass
class Case:
    """Commands with their operands, and the writes, credits and saturations they must cause."""

    banks: int
    lanes: int
    vector_lanes: int
    memory: dict[int, bytes]
    tables: list[list[dict[str, int]]]
    commands: list[dict[str, Any]] = field(default_factory=list)
    accumulators: list[list[int]] = field(default_factory=list)
    adds: list[bool] = field(default_factory=list)
    """Whether the result of an accumulator word is added to a residual."""
    row_scales: list[dict[str, int]] = field(default_factory=list)
    token_writes: list[dict[str, int]] = field(default_factory=list)
    row_writes: list[dict[str, int]] = field(default_factory=list)
    credits: list[Credit] = field(default_factory=list)
    saturations: int = 0
    cleared: int = 0

    @property
    def writes(self) -> int:
        """Words written so far, to either memory."""
        return len(self.token_writes) + len(self.row_writes)

    def _token_write(self, command: dict[str, Any], address: int, value: bytes, mask: int) -> None:
        data = int.from_bytes(value, "little")
        self.token_writes.append(
            {"address": address, "data": data, "mask": mask, "pc": command["pc"]}
        )
        word = bytearray(self.memory.get(address, bytes(self.lanes)))
        for lane in range(self.lanes):
            if mask >> lane & 1:
                word[lane] = value[lane]
        self.memory[address] = bytes(word)

    def sums(self, command: dict[str, Any]) -> np.ndarray:
        """The sums that a command adds to its own, int64 [rows, lanes]."""
        if command["attention"] or not command["accumulate"]:
            return np.zeros((command["rows"], self.lanes), np.int64)
        rows = 1 if command["broadcast"] else command["rows"]
        first, count = command["partial"], rows * PARTIAL_WORDS
        content = b"".join(self.memory[address] for address in range(first, first + count))
        halves = np.frombuffer(content, "<u2").reshape(-1, 2, self.vector_lanes).astype(np.int64)
        sums = halves[:, 0] + (halves[:, 1] << 16)
        sums = wrapped(sums).reshape(rows, self.lanes)
        return np.broadcast_to(sums, (command["rows"], self.lanes))

    def _clear(self, command: dict[str, Any], values: np.ndarray, counts: Any = True) -> np.ndarray:
        """Apply the command's threshold; lanes that count."""
        out = threshold(values, command.get("threshold", 0))
        self.cleared += int(((out != values) & counts).sum())
        return out

    def add(self, command: dict[str, Any], results: np.ndarray, scales: list[dict]) -> None:
        """Execute a command: `results` [rows x words, lanes] int32, `scales` one a row."""
        self.commands.append(command)
        self.accumulators += [[int(value) for value in row] for row in results]
        adds = not command["attention"] and command["destination"] == Destination.RESIDUAL
        self.adds += [adds] * len(results)
        self.row_scales += scales
        words = command["head_words"] if command["attention"] else 1
        if not command["attention"]:
            results = wrapped(results + self.sums(command))
        target, stride = command["target"], command["target_stride"]
        for row in range(command["rows"]):
            for word in range(words):
                self._result(command, row, word, results[row * words + word], target + row * stride)
            if command["token_signal"]["valid"]:
                index = command["token_signal"]["index"]
                self.credits.append(Credit("token", index, self.writes))
        self.credits.append(Credit("mask", command["signal"], self.writes))

    def _result(
        self, command: dict[str, Any], row: int, word: int, x: np.ndarray, address: int
    ) -> None:
        lanes = self.lanes
        if command["attention"]:
            scale = self.row_scales[row - command["rows"]]
            values = requantize(x, 0, scale["multiplier"], scale["shift"], ACT.low, ACT.high)
            own = min(lanes, command["head_dim"] - word * lanes)
            lane = np.arange(lanes) - command["first_lane"]
            values = self._clear(command, values, (lane >= 0) & (lane < own))
            mask = ((1 << own) - 1) << command["first_lane"]
            self._token_write(command, address + word, values.astype(np.int8).tobytes(), mask)
            return
        entries = self.tables[command["table"]]
        columns = [
            np.array([entry[name] for entry in entries])
            for name in ("addend", "multiplier", "shift")
        ]
        every = (1 << lanes) - 1
        if command["destination"] == Destination.PARTIAL:
            whole = x.astype("<i4").view("<u2").reshape(-1, self.vector_lanes, 2)
            content = whole.swapaxes(1, 2).tobytes()
            for word in range(PARTIAL_WORDS):
                part = content[word * lanes : (word + 1) * lanes]
                self._token_write(command, address + word, part, every)
            return
        if command["destination"] in (Destination.RESIDUAL, Destination.WIDE):
            values = self._clear(command, requantize(x, *columns, **INT16))
            if command["destination"] == Destination.RESIDUAL:
                old = b"".join(self.memory[address + half] for half in range(2))
                exact = np.frombuffer(old, np.int16) + values
                values = residual_add(np.frombuffer(old, np.int16), values)
                self.saturations += int((exact != values).sum())
            both = values.astype(np.int16).tobytes()
            for half in range(2):
                self._token_write(
                    command, address + half, both[half * lanes : (half + 1) * lanes], every
                )
            return
        if command["activation"] == Activation.GELU:
            values = gelu_activation(
                self._clear(command, requantize(x, *columns, **INT16)),
                command["activation_multiplier"],
                command["activation_shift"],
                command["activation_zero_point"],
            )
        else:
            low = 0 if command["activation"] == Activation.RELU else ACT.low
            values = self._clear(command, requantize(x, *columns, low, ACT.high))
        value = values.astype(np.int8).tobytes()
        if command["destination"] == Destination.ROWS:
            self.row_writes.append(
                {
                    "bank": row % self.banks,
                    "address": command["target"] + row // self.banks * command["target_stride"],
                    "data": int.from_bytes(value, "little"),
                    "pc": command["pc"],
                }
            )
            return
        self._token_write(command, address, value, every)


def wrapped(values: np.ndarray) -> np.ndarray:
    """The low 32 bits, signed."""
    return (values + (1 << 31)) % (1 << 32) - (1 << 31)


def _entry(rng: random.Random, x_bits: int, result_bits: int, addend_bits: int) -> dict[str, int]:
    """A requantizer that mostly stays in range: a usual one, or one that makes many ties."""
    addend = rng.randint(-(1 << addend_bits), (1 << addend_bits) - 1)
    shift = max(0, x_bits - result_bits) + rng.randint(0, 2)
    kind = rng.random()
    if kind < 0.3:
        return {"addend": addend, "multiplier": 1, "shift": shift}
    if kind < 0.35:
        return {"addend": addend, "multiplier": 0, "shift": rng.randint(0, 48)}
    return {
        "addend": addend,
        "multiplier": rng.randint(1 << 15, (1 << 16) - 1),
        "shift": shift + 16,
    }


TABLE_X_BITS = (4, 7, 10, 16, 20, 24, 30, 31)
"""Bits of the accumulators that suit table 0, 1, ..."""


def random_case(
    seed: int,
    *,
    banks: int,
    lanes: int,
    vector_lanes: int,
    column_tables: int,
    count: int,
    max_rows: int = 6,
    destinations: tuple[Destination, ...] = tuple(Destination),
    attention: float = 0.25,
    accumulate: float = 0.3,
    thresholds: bool = False,
) -> Case:
    """`count` random commands; tables 0, 2, ... give int8 results, 1, 3, ... int16."""
    rng = random.Random(seeded(seed))
    numbers = np.random.default_rng(seeded(seed))
    words = 256
    tables = []
    for table in range(column_tables):
        x_bits = TABLE_X_BITS[table % 8]
        result_bits = 15 if table % 2 else 7
        tables.append([_entry(rng, x_bits, result_bits, max(1, x_bits - 2)) for _ in range(lanes)])
    slots = [words + slot * PARTIAL_WORDS * max_rows for slot in range(3)]
    """Of sums: an instruction keeps its own where it found the others, or elsewhere."""
    memory = {
        address: numbers.bytes(lanes) for address in range(slots[-1] + PARTIAL_WORDS * max_rows)
    }
    case = Case(
        banks=banks, lanes=lanes, vector_lanes=vector_lanes, memory=dict(memory), tables=tables
    )
    first = memory
    for pc in range(count):
        is_attention = rng.random() < attention
        destination = rng.choice(destinations)
        wide = destination in (Destination.RESIDUAL, Destination.WIDE)
        activation = rng.choice(list(Activation))
        sixteen = wide or activation == Activation.GELU
        rows = rng.randint(1, max_rows)
        packed = rng.random() < 0.5
        head_dim = rng.randint(1, lanes if packed else 3 * lanes)
        head_words = -(-head_dim // lanes)
        x_bits = 20
        table = rng.randrange(column_tables // 2) * 2 + sixteen
        if not is_attention:
            x_bits = TABLE_X_BITS[table % 8]
        limit = 1 << max(2, x_bits - rng.randint(0, 5))
        shape = (rows * (head_words if is_attention else 1), lanes)
        results = numbers.integers(-limit, limit, shape)
        if rng.random() < 0.2:
            results = numbers.choice([-(2**31), 2**31 - 1, -1, 0, 1], shape)
        stride = rng.randint(max(PARTIAL_WORDS, head_words), 12)
        scales = [
            {
                "multiplier": rng.choice([1 << 15, (1 << 16) - 1, rng.randrange(1 << 16)]),
                "shift": rng.randint(28, 31),
            }
            for _ in range(rows if is_attention else 0)
        ]
        command = {
            "pc": pc,
            "attention": int(is_attention),
            "rows": rows,
            "destination": Destination.TOKENS if is_attention else destination,
            "target": rng.choice([10, 20, rng.randrange(words - 12 * max_rows - 2)]),
            "target_stride": stride,
            "table": table,
            "activation": activation,
            "activation_multiplier": rng.randint(1 << 15, (1 << 16) - 1),
            "activation_shift": rng.randint(18, 27),
            "activation_zero_point": rng.choice([-128, -120, rng.randint(-128, 127)]),
            "head_words": head_words,
            "head_dim": head_dim,
            "first_lane": rng.randint(0, lanes - head_dim) if head_words == 1 else 0,
            "token_signal": {"index": rng.randrange(12), "valid": rng.randrange(2)},
            "signal": rng.randrange(1 << 12),
            "accumulate": int(rng.random() < accumulate),
            "partial": rng.choice(slots),
        }
        if not is_attention and destination == Destination.PARTIAL:
            command |= {"target": rng.choice(slots), "target_stride": PARTIAL_WORDS}
        if thresholds:
            wide_limits = (0, 1, 200, 4000, 32767, rng.randrange(1 << 15))
            limits = (0, 1, 20, 100, 126, 127, 128, 255)
            command["threshold"] = rng.choice(
                limits if is_attention or not sixteen else wide_limits
            )
        command["broadcast"] = int(pc % 2 and command["target"] != command["partial"])
        if not is_attention:
            results = wrapped(results - case.sums(command))
        case.add(command, results, scales)
    case.memory = first
    return case
