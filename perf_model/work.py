"""What sieves leave of the array's instructions: counts that a run has found out.

Time depends on data only through these. `golden_model.machine.Execution.work` has them for an
image, by program counter.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from perf_model.epilogue import ResultCommand
from perf_model.selection import PredictionError
from spec.assembler import Instruction
from spec.isa import SIEVE, Destination, Opcode

__all__ = ["Left", "Sieves", "Work", "needs_work"]


class Work(Protocol):
    """What is left of one instruction; None and 0 where its sieves leave it alone."""

    nonzeros: NDArray[np.uint8] | None
    """FULLY_CONNECTED that skips zeros: other scalars, [rows, words, banks]."""
    place_banks: NDArray[np.int64] | None
    """FULLY_CONNECTED whose rows have places: the bank of each, -1: all."""
    pair_steps: NDArray[np.int64] | None
    """ATTENTION by lists: steps of each pair of queries, and how many of the two are alive."""
    pair_queries: NDArray[np.int64] | None
    value_steps: NDArray[np.int64] | None
    """ATTENTION by lists or that skips zeros: steps of P.V of each row, for one word."""
    scored: int
    """Scores of ATTENTION, and the probabilities that P.V takes."""
    valued: int
    masked: int
    """Scores between live tokens that are not kept."""
    zero_probs: int
    """Probabilities of 0 that P.V leaves out."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """`Work` as the array goes through it; None where it does all of something."""

    words: list[list[int]] | None = None
    """FULLY_CONNECTED: of each row's words the scalars a bank, a byte for each bank."""
    pairs: list[tuple[int, int]] | None = None
    """ATTENTION: steps of each pair's scores, and its live queries; there may be pairs without."""
    list_words: int = 0
    """ATTENTION: token-memory words of its lists, however many are read."""
    values: list[int] | None = None
    """ATTENTION: steps of P.V of each row, for one word."""
    macs: int = 0
    masked: int = 0
    """Multiplications that are left out: of scores that are not kept,"""
    zero: int = 0
    """and of scalars that are 0."""
    banks_used: int = 0
    """Banks that take part, over all steps of which some may stand idle."""


class Sieves:
    """The settings of SIEVE at a place of the program, and what they leave there."""

    def __init__(self, work: Mapping[int, Work] | None) -> None:
        self.work = work
        self.fields: Mapping[str, Any] = dict.fromkeys(SIEVE.members, 0)

    def set(self, instruction: Instruction) -> None:
        """Execute SIEVE."""
        self.fields = instruction.fields

    def left(self, pc: int, instruction: Instruction, rows: int) -> Left | None:
        """What is left of an instruction of `rows` rows; None: all of it.

        Raises `PredictionError` if that depends on data and is not known.
        """
        attention = instruction.opcode == Opcode.ATTENTION
        masked = attention and self.fields["masked"]
        if not rows or not (masked or self.fields["skip_zeros"]):
            return None
        found = None if self.work is None else self.work.get(pc)
        missing = found is None
        if found is not None:
            missing = found.value_steps is None if attention else found.nonzeros is None
            missing |= bool(masked) and found.pair_steps is None
        if found is None or missing:
            raise _unknown(pc, instruction)
        f = instruction.fields
        return self._attention(f, found) if attention else self._connected(f, found)

    def _connected(self, f: Mapping[str, Any], work: Work) -> Left:
        counts = work.nonzeros
        assert counts is not None
        rows, _, banks = counts.shape
        packed = np.zeros(counts.shape[:2], np.uint64)
        for bank in range(banks):
            packed |= counts[:, :, bank].astype(np.uint64) << np.uint64(8 * bank)
        scalars = int(counts.sum(dtype=np.int64))
        return Left(
            words=packed.tolist(),
            macs=scalars * f["columns"],
            zero=(rows * f["depth"] - scalars) * f["columns"],
            banks_used=scalars,
        )

    def place(self, pc: int, instruction: Instruction, command: ResultCommand) -> None:
        """Say where rows go that have places."""
        rows = instruction.fields.get("destination") == Destination.ROWS
        if not self.fields["placed"] or not rows or not command.rows:
            return
        found = None if self.work is None else self.work.get(pc)
        if found is None or found.place_banks is None:
            raise _unknown(pc, instruction)
        command.placed, command.banks = True, found.place_banks.tolist()

    def _attention(self, f: Mapping[str, Any], work: Work) -> Left:
        assert work.value_steps is not None
        size, pairs, used = f["head_dim"], None, work.valued
        if work.pair_steps is not None and work.pair_queries is not None:
            pairs = list(zip(work.pair_steps.tolist(), work.pair_queries.tolist(), strict=True))
            used += work.scored
        return Left(
            pairs=pairs,
            list_words=self.fields["list_words"],
            values=work.value_steps.tolist(),
            macs=(work.scored + work.valued) * size,
            masked=2 * work.masked * size,
            zero=work.zero_probs * size,
            banks_used=used * f["head_words"],
        )


def _unknown(pc: int, instruction: Instruction) -> PredictionError:
    return PredictionError(
        f"pc {pc} ({instruction.opcode.name}): what masks and zeros leave depends on the image: "
        "predict needs `work`, as a run of the golden machine has it"
    )


def needs_work(instructions: Iterable[Instruction]) -> bool:
    """Whether a program's time depends on what masks and zeros leave."""
    sieves = [op.fields for op in instructions if op.opcode == Opcode.SIEVE]
    return any(fields["skip_zeros"] or fields["masked"] for fields in sieves)
