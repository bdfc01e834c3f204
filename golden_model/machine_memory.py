"""The machine's memories, in bytes, with every access checked."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden_model.errors import GoldenError
from spec.config import Config
from spec.formats import REQUANTIZE
from spec.isa import HEAD_SCALES, PARTIAL_WORDS, SIEVE, Window
from spec.masks import GROUP_BITS
from spec.registers import Error

__all__ = ["MachineError", "Memories", "Work"]


class MachineError(GoldenError):
    """A program that the machine stops: `code` and `pc` are those of its error registers."""

    def __init__(self, message: str, code: Error, pc: int = -1) -> None:
        super().__init__(message)
        self.code, self.pc = code, pc


@dataclass(kw_only=True)
class Work:
    """What the sieves left of an instruction of the array."""

    nonzeros: NDArray[np.uint8] | None = None
    """FULLY_CONNECTED that skips zeros: other scalars, [rows, words, banks]."""
    place_banks: NDArray[np.int64] | None = None
    """FULLY_CONNECTED whose rows have places: the bank of each, -1: all."""
    pair_steps: NDArray[np.int64] | None = None
    """ATTENTION by lists: steps of each pair of queries, and how many of the two are alive."""
    pair_queries: NDArray[np.int64] | None = None
    value_steps: NDArray[np.int64] | None = None
    """ATTENTION by lists or that skips zeros: steps of P.V of each row, for one word."""
    scored: int = 0
    """Scores of ATTENTION, and the probabilities that P.V takes."""
    valued: int = 0
    masked: int = 0
    """Scores between live tokens that are not kept."""
    zero_probs: int = 0
    """Probabilities of 0 that P.V leaves out."""
    list_words: int = 0
    """Token-memory words of lists."""
    cleared: int = 0
    """Values other than 0 that a threshold made 0."""


class Memories:
    """Token memory, banked row memory, tables, DRAM windows, scores and the live-token register.

    With `seed`, on-chip memories start with random content: no result may depend on it.
    """

    def __init__(
        self, config: Config, windows: Mapping[Window, bytes], seed: int | None = None
    ) -> None:
        self.config = config
        banks, lanes = config.banks, config.lanes
        self.token = np.zeros((config.token_words, lanes), np.uint8)
        """[token_words, lanes]"""
        self.rows = np.zeros((config.head_groups, banks, config.row_words, lanes), np.uint8)
        self.row = self.rows[0]
        """Of one head group (see `group`), [banks, row_words, lanes]"""
        self.tables = np.zeros((config.head_groups, config.column_tables, lanes, 3), np.int64)
        self.column_table = self.tables[0]
        """Likewise: addend, multiplier and shift; LayerNorm: offset, gain (signed) and shift"""
        self.norm_table = np.zeros((config.norm_tables * lanes, 3), np.int64)
        self.window = {key: np.frombuffer(value, np.uint8).copy() for key, value in windows.items()}
        self.work = Work()
        """Of the instruction at hand."""
        self.scores = np.zeros((config.head_groups, config.max_tokens), np.int64)
        """SCORE, collected from the attention of CLS; those of the head groups are added."""
        self.score = self.scores[0]
        """Of one head group"""
        if seed is not None:
            rng = np.random.default_rng(seed)
            self.token[:] = rng.integers(0, 256, self.token.shape)
            self.rows[:] = rng.integers(0, 256, self.rows.shape)
            self.scores[:] = rng.integers(0, 1 << 16, self.scores.shape)
        self.begin()

    def begin(self) -> None:
        """What a program finds that begins, or goes on behind a GATE; memories stay as they are."""
        self.live = 0
        self.packages = 0
        """Live rows that are packages, the last ones."""
        self.first_tokens = 0
        """Of the last LIVE."""
        self.origin = np.arange(self.config.max_tokens)
        """The token that each live row was at LIVE; package rows have numbers behind them."""
        self.head_scales: Mapping[str, int] = dict.fromkeys(HEAD_SCALES.members, 0)
        """Fields of the last HEAD_SCALES."""
        self.sieve: Mapping[str, int] = dict.fromkeys(SIEVE.members, 0)
        """Fields of the last SIEVE."""
        self.present = np.zeros((self.config.banks, 1 << GROUP_BITS), np.bool_)
        """Places that keys were written to, [banks, groups]."""

    def group(self, number: int) -> "Memories":
        """The memories as head group `number` sees them: its own row memory and column tables."""
        view = copy.copy(self)
        view.row, view.column_table = self.rows[number], self.tables[number]
        view.score = self.scores[number]
        return view

    def dram(self, window: Window, offset: int, size: int, write: bool = False) -> slice:
        """A checked range of a DRAM window."""
        limit = len(self.window.get(window, b""))
        if offset + size > limit:
            raise MachineError(
                f"bytes {offset}..{offset + size - 1} lie beyond window {window.name} "
                f"of {limit} bytes",
                Error.WINDOW,
            )
        if offset % self.config.bus_bytes:
            raise MachineError(
                f"offset {offset} is not a multiple of the bus's {self.config.bus_bytes} bytes",
                Error.WINDOW,
            )
        if write and window not in (Window.SCRATCH, Window.RESULT):
            raise MachineError(f"store to window {window.name}, which is read-only", Error.WINDOW)
        return slice(offset, offset + size)

    def token_addresses(self, base: int, stride: int, rows: int, words: int) -> NDArray[np.int64]:
        """Checked addresses of `words` words in each of `rows` rows, int64 [rows, words]."""
        if rows < 1 or words < 1:
            raise MachineError(f"{rows} rows of {words} words", Error.OPERAND)
        last = base + (rows - 1) * stride + words - 1
        if last >= self.config.token_words:
            raise MachineError(
                f"token word {last} lies beyond the {self.config.token_words} there are",
                Error.TOKEN_ADDRESS,
            )
        return base + np.arange(rows)[:, None] * stride + np.arange(words)

    def row_addresses(self, base: int, stride: int, rows: int, words: int = 1) -> NDArray[np.int64]:
        """Checked bank words of matrix rows in bank r mod banks, int64 [rows, words]."""
        if rows < 1:
            raise MachineError(f"{rows} rows", Error.OPERAND)
        last = base + (rows - 1) // self.config.banks * stride + words - 1
        if last >= self.config.row_words:
            raise MachineError(
                f"row word {last} lies beyond the {self.config.row_words} of a bank",
                Error.ROW_ADDRESS,
            )
        return base + np.arange(rows)[:, None] // self.config.banks * stride + np.arange(words)

    def matrix(self, base: int, stride: int, rows: int, words: int = 1) -> NDArray[np.int8]:
        """Matrix rows from row memory, int8 [rows, words * lanes]."""
        address = self.row_addresses(base, stride, rows, words)
        bank = np.arange(rows)[:, None] % self.config.banks
        return self.row[bank, address].reshape(rows, -1).view(np.int8)

    def tokens(self, base: int, stride: int, rows: int, words: int) -> NDArray[np.uint8]:
        """Token rows, uint8 [rows, words * lanes]."""
        return self.token[self.token_addresses(base, stride, rows, words)].reshape(rows, -1)

    def partial_sums(self, base: int, rows: int) -> NDArray[np.int64]:
        """Sums of an earlier instruction, int64 [rows, lanes]; see `isa.PARTIAL_WORDS`."""
        words = self.tokens(base, PARTIAL_WORDS, rows, PARTIAL_WORDS).view("<u2")
        halves = words.reshape(rows, -1, 2, self.config.vector_lanes).swapaxes(2, 3)
        sums = np.ascontiguousarray(halves).view("<i4")
        return sums.reshape(rows, -1).astype(np.int64)

    def halves(self, sums: NDArray[np.int64]) -> NDArray[np.uint16]:
        """Sums [rows, lanes] as they lie in token memory, uint16 [rows, 2 * lanes]."""
        whole = sums.astype("<i4").view("<u2")
        groups = whole.reshape(len(sums), -1, self.config.vector_lanes, 2).swapaxes(2, 3)
        return np.ascontiguousarray(groups).reshape(len(sums), -1)

    def check_table(self, table: int, size: int, limit: int, kind: str) -> None:
        """Refuse table entries that are not there."""
        if table + size > limit:
            raise MachineError(
                f"{kind} table entry {table + size - 1} lies beyond the {limit} there are",
                Error.TABLE_ADDRESS,
            )

    def entries(self, content: NDArray[np.uint8], signed: bool) -> NDArray[np.int64]:
        """Table entries, int64 [n, 3], from their bytes in DRAM."""
        raw = content.reshape(-1, REQUANTIZE.entry_bytes)
        out = np.zeros((len(raw), 3), np.int64)
        out[:, 0] = np.ascontiguousarray(raw[:, :4]).view("<i4")[:, 0]
        out[:, 1] = np.ascontiguousarray(raw[:, 4:6]).view("<i2" if signed else "<u2")[:, 0]
        out[:, 2] = raw[:, 6] & ((1 << REQUANTIZE.shift_bits) - 1)
        return out
