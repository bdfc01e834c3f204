"""Lists of kept scores and places of keys: what SIEVE means for the golden machine."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from golden_model.machine_memory import MachineError, Memories
from spec.masks import LIST_ENTRY, POSITION, POSITION_BYTES
from spec.registers import Error

__all__ = ["KeptPairs", "kept_pairs", "place_rows"]

_GROUP = (1 << LIST_ENTRY["group"].width) - 1
_SECOND = 1 << LIST_ENTRY["second"].offset
_VALID = 1 << LIST_ENTRY["valid"].offset
_BANK = POSITION["bank"]
_ALL_BANKS = 1 << POSITION["all_banks"].offset


@dataclass(kw_only=True)
class KeptPairs:
    """The pairs of queries that a list names, in order; those without a live query too."""

    steps: list[int] = field(default_factory=list)
    """Of each pair."""
    queries: list[list[int]] = field(default_factory=list)
    """Rows of each pair's live queries: none, one or two."""
    kept: list[NDArray[np.bool_]] = field(default_factory=list)
    """Of each live query, in order: entries that are its own, bool [steps of its pair, banks]."""
    group: list[NDArray[np.int64]] = field(default_factory=list)
    """Likewise: places of the entries, [steps, banks]."""

    @property
    def list_steps(self) -> int:
        """Steps of the list that were used, headers among them."""
        return sum(self.steps) + len(self.steps)


def place_rows(memory: Memories, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bank (-1: all banks) and group of rows 0 .. `rows` - 1, and mark their places as present."""
    per_word, most = memory.config.lanes // POSITION_BYTES, memory.config.max_positions
    if rows > most:
        raise MachineError(f"{rows} rows, lists can name {most} places", Error.INDEX)
    token = memory.origin[:rows]
    address = memory.sieve["positions"] + token // per_word
    if address.max() >= memory.config.token_words:
        raise MachineError(f"position word {address.max()} is not there", Error.TOKEN_ADDRESS)
    words = memory.token[address].view("<u2")
    entry = words[np.arange(rows), token % per_word].astype(np.int64)
    group = entry & (1 << POSITION["group"].width) - 1
    bank = entry >> _BANK.offset & (1 << _BANK.width) - 1
    bank = np.where(entry & _ALL_BANKS, -1, bank)
    if group.max() > _GROUP or bank.max() >= memory.config.banks:
        raise MachineError("a place that lists cannot name", Error.INDEX)
    for number, at in zip(bank, group, strict=True):
        memory.present[slice(None) if number < 0 else number, at] = True
    return bank, group


def kept_pairs(memory: Memories, rows: int) -> KeptPairs:
    """Follow the lists until all `rows` queries had their turn."""
    config, sieve = memory.config, memory.sieve
    words = memory.tokens(sieve["lists"], 1, sieve["list_words"], 1)
    steps = words.reshape(-1, config.banks).astype(np.int64)
    most = min(config.score_words, config.prob_words)
    banks = np.arange(config.banks)
    found, at, row = KeptPairs(), 0, 0
    while row < rows:
        if at >= len(steps):
            raise MachineError("the list ends before the queries do", Error.INDEX)
        count = int(steps[at, 0])
        if not 1 <= count <= most or steps[at, 1:].any() or at + count >= len(steps):
            raise MachineError(f"a list's step {at} is no header", Error.INDEX)
        entry = steps[at + 1 : at + 1 + count]
        group = entry & _GROUP
        valid = (entry & _VALID != 0) & memory.present[banks, group]
        first, live = 2 * len(found.steps), []
        for second in (False, True):
            if row == rows or memory.origin[row] != first + second:
                continue
            own = valid & ((entry & _SECOND != 0) == second)
            if not own.any():
                raise MachineError(f"query row {row} keeps no key", Error.INDEX)
            live.append(row)
            found.kept.append(own)
            found.group.append(group)
            row += 1
        found.steps.append(count)
        found.queries.append(live)
        at += count + 1
    return found
