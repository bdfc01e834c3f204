"""Selections as the model sees them: which row goes first, how many are left, how long it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rtl_gen.token_selector.select_tokens import SelectTokens
from spec.assembler import Instruction
from spec.config import Config
from spec.errors import SievitError
from spec.isa import Opcode, Package, Scores

__all__ = ["PredictionError", "Selection", "select_cycles", "selections_of"]


class PredictionError(SievitError, ValueError):
    """A machine whose timing is not known, or counts that no run can have: says which."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a SELECT does, as far as its time depends on it."""

    rows: int
    """Alive before."""
    left: int
    """Alive behind it."""
    first: int | None
    """The first row that is dropped; None: none is."""

    @property
    def moving(self) -> int:
        """Rows that are read again: from the first dropped one on."""
        return 0 if self.first is None else self.rows - self.first


def selections_of(
    instructions: Sequence[Instruction], live: Sequence[int], first: Sequence[int | None] = ()
) -> dict[int, Selection]:
    """What each SELECT of a program does, by program counter.

    live : tokens alive behind each selection
    first : the first row that each drops, None where none is dropped; if not given, the first one
        behind the prefix, if fewer rows are left than there were or a package row must go

    Raises `PredictionError` for counts that do not belong to the program.
    """
    ends = [op for op in instructions if op.opcode == Opcode.SELECT and not op.fields["more"]]
    if len(ends) != len(live):
        raise PredictionError(
            f"the program has {len(ends)} selections: as many numbers of tokens are needed, "
            f"not {len(live)}"
        )
    found: dict[int, Selection] = {}
    rows = packages = number = 0
    for pc, op in enumerate(instructions):
        if op.opcode == Opcode.LIVE:
            rows, packages = op.fields["tokens"], 0
        if op.opcode != Opcode.SELECT:
            continue
        f, left = op.fields, live[number]
        packs = f["package"] != Package.NONE
        if not f["prefix"] + 1 <= left <= rows:
            raise PredictionError(
                f"selection {number} of {rows} tokens leaves {f['prefix'] + 1} to {rows} "
                f"of them, not {left}"
            )
        drops = left < rows or (packages > 0 and not f["each"])
        row = f["prefix"] if drops else None
        if first:
            row = first[number]
        found[pc] = Selection(rows=rows, left=left, first=row)
        if f["more"]:
            continue
        if packs and row is not None:
            packages = packages + 1 if f["each"] else 1
        rows = left
        number += 1
    return found


def select_cycles(config: Config, fields: Mapping[str, Any], selection: Selection) -> int:
    """Cycles from a SELECT's start to its end, both included, when memory is free."""
    return _unit(config).cycles(
        rows=selection.rows,
        prefix=fields["prefix"],
        words=fields["words"],
        heads=fields["heads"] if fields["scores"] == Scores.CLASSIFIER else 0,
        moving=selection.moving,
        package=fields["package"] != Package.NONE,
    )


@lru_cache
def _unit(config: Config) -> SelectTokens:
    return SelectTokens(
        lanes=config.lanes,
        norm_lanes=config.norm_lanes,
        max_tokens=config.max_tokens,
        logic_multipliers=config.logic_multipliers,
    )
