"""Kept scores of attention heads as places of keys and lists of steps; see `spec.masks`.

Heads that share words share the places of their keys. A place decides in which bank a key's scores
and products are made; a row of P.V takes as many steps as its fullest bank has keys, a pair of
queries as many score steps. Keys that many queries keep lie in all banks, so that each of their
scores can go to the bank that has least to do.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spec.masks import GROUP_BITS, LIST_ENTRY, POSITION

__all__ = ["MAX_GROUPS", "ListError", "Places", "encode_list", "encode_places", "place_keys"]

MAX_GROUPS = 1 << GROUP_BITS
"""Places of a bank that a list can name."""
MAX_REPLICATED = 16
"""Keys in all banks, beside package tokens; of few tokens, one in `REPLICATED_SHARE`."""
REPLICATED_SHARE = 8
"""A key must be kept by more than one of so many queries to lie in all banks."""
COUNT = np.int16
"""Of keys in a row or pair: small, because the search looks at many."""
PASSES = 3
"""Of the search for keys that had better swap their banks."""


class ListError(ValueError):
    """Kept scores that no list can hold: `needed` places or steps, and where."""

    def __init__(self, needed: int, where: str) -> None:
        super().__init__(where)
        self.needed = needed


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the keys of all tokens lie."""

    bank: NDArray[np.int64]
    """[tokens]; -1: all banks"""
    group: NDArray[np.int64]
    """[tokens]"""

    @property
    def groups(self) -> int:
        """Places of a bank, up to the last one in use."""
        return int(self.group.max()) + 1


def place_keys(
    kept: NDArray[np.bool_], banks: int, packages: int = 0, replicated: int = MAX_REPLICATED
) -> Places:
    """Spread keys over banks: those that many queries keep in all, the others by a search.

    Greedy, the keys that most queries keep first, each to the bank where it adds fewest steps to
    the rows and pairs it belongs to; then keys of two banks are swapped while that saves steps.
    kept : bool [heads, queries, keys], of the heads that share places
    packages : of the tokens the last ones, which lie in all banks
    replicated : other keys that may do so

    Raises `ListError` if there are more tokens than places.
    """
    heads, tokens, _ = kept.shape
    degree = kept.sum(axis=(0, 1))
    degree[tokens - packages :] = 0
    order = np.argsort(-degree, kind="stable")
    everywhere = np.zeros(tokens, np.bool_)
    everywhere[tokens - packages :] = True
    most = min(replicated, _most_replicated(tokens, packages, banks))
    for key in order[:most]:
        everywhere[key] |= bool(degree[key] * REPLICATED_SHARE > heads * tokens)
    steps = _Steps(kept, everywhere, banks)
    for key in order:
        if not everywhere[key]:
            steps.put(int(key))
    steps.search()
    bank = np.where(everywhere, -1, steps.bank)
    group = np.zeros(tokens, np.int64)
    first = int(everywhere.sum())
    group[everywhere] = np.arange(first)
    for number in range(banks):
        own = bank == number
        group[own] = first + np.arange(int(own.sum()))
    return Places(bank=bank, group=group)


def _most_replicated(tokens: int, packages: int, banks: int) -> int:
    """How many keys may lie in all banks beside package tokens."""
    most = min(MAX_REPLICATED, (tokens - packages) // REPLICATED_SHARE)
    needed = [packages + n - (packages + n - tokens) // banks for n in range(most + 1)]
    fitting = [count for count, groups in enumerate(needed) if groups <= MAX_GROUPS]
    if not fitting:
        raise ListError(needed[0], f"{tokens} tokens")
    return fitting[-1]


class _Steps:
    """Steps of all rows and pairs of queries, while keys get their banks."""

    def __init__(self, kept: NDArray[np.bool_], everywhere: NDArray[np.bool_], banks: int) -> None:
        tokens = kept.shape[2]
        padded = np.pad(kept.astype(COUNT), ((0, 0), (0, tokens % 2), (0, 0)))
        pairs = padded[:, ::2] + padded[:, 1::2]
        rows = kept.reshape(-1, tokens).astype(COUNT)
        self.uses = np.concatenate([rows, pairs.reshape(-1, tokens)])
        """[rows and pairs, keys], how often a row or pair has a key"""
        self.least = (-(-self.uses.sum(axis=1) // banks)).astype(COUNT)
        """Steps if its keys were spread evenly."""
        self.load = np.zeros((len(self.uses), banks), COUNT)
        """[rows and pairs, banks], keys that lie in one bank only"""
        self.free = ~everywhere
        self.bank = np.full(tokens, -1)
        self.size = np.zeros(banks, np.int64)
        self.capacity = -(-int(self.free.sum()) // banks)

    def put(self, key: int) -> None:
        """Put a key into the bank where it adds fewest steps, of those the emptiest."""
        users = np.flatnonzero(self.uses[:, key])
        count, load = self.uses[users, key, None], self.load[users]
        steps = np.maximum(load.max(axis=1), self.least[users])[:, None]
        added = np.maximum(load + count - steps, 0).sum(axis=0)
        crowded = ((2 * load + count) * count).sum(axis=0)
        order = np.lexsort((self.size, crowded, added, self.size >= self.capacity))
        bank = int(order[0])
        self.bank[key] = bank
        self.load[users, bank] += count[:, 0]
        self.size[bank] += 1

    def search(self) -> None:
        """Swap keys of two banks while that saves steps."""
        for _ in range(PASSES):
            swaps = [self.swap(int(key)) for key in np.flatnonzero(self.free)]
            if not any(swaps):
                return

    def swap(self, key: int) -> bool:
        """Swap a key with the one with which that saves most steps, if any."""
        mine, own = self.bank[key], self.uses[:, key]
        most = self.load.max(axis=1)
        if not ((own > 0) & (self.load[:, mine] == most) & (most > self.least)).any():
            return False
        others = np.flatnonzero(self.free & (self.bank != mine))
        if not len(others):
            return False
        theirs, used = self.bank[others], self.uses[:, others]
        here = self.load[:, mine, None] - own[:, None] + used
        there = self.load[:, theirs] - used + own[:, None]
        # the most of the other banks is among the three fullest
        fullest = np.argsort(-self.load, axis=1, kind="stable")[:, :3]
        rest = np.zeros_like(here)
        for column in fullest.T[::-1]:
            value = np.take_along_axis(self.load, column[:, None], axis=1)
            other = (column != mine)[:, None] & (column[:, None] != theirs)
            rest = np.where(other, value, rest)
        for other in (there, rest, self.least[:, None]):
            np.maximum(here, other, out=here)
        total = here.sum(axis=0, dtype=np.int64)
        best = int(total.argmin())
        if total[best] >= np.maximum(most, self.least).sum():
            return False
        other, bank = others[best], theirs[best]
        self.load[:, mine] += used[:, best] - own
        self.load[:, bank] += own - used[:, best]
        self.bank[key], self.bank[other] = bank, mine
        return True


def encode_places(places: Places, lanes: int) -> NDArray[np.uint8]:
    """The list of `POSITION` entries, whole token-memory words: uint8 [bytes]."""
    everywhere = places.bank < 0
    entries = places.group << POSITION["group"].offset
    entries |= np.where(everywhere, 0, places.bank) << POSITION["bank"].offset
    entries |= everywhere.astype(np.int64) << POSITION["all_banks"].offset
    content = entries.astype("<u2").view(np.uint8)
    return np.pad(content, (0, -len(content) % lanes))


def encode_list(
    kept: NDArray[np.bool_], places: Places, banks: int, lanes: int, most: int
) -> NDArray[np.uint8]:
    """The list of a head, whole token-memory words: uint8 [bytes].

    kept : bool [queries, keys]; every query keeps a key
    most : steps that a pair may have; with two entries a place it has 128 at most

    Raises `ListError` for a pair that needs more.
    """
    steps = []
    for first in range(0, len(kept), 2):
        entries = _pair_steps(kept[first : first + 2], places, banks)
        if len(entries) > most:
            raise ListError(len(entries), f"queries {first} and {first + 1}")
        header = np.zeros((1, banks), np.uint8)
        header[0, 0] = len(entries)
        steps += [header, entries]
    content = np.concatenate(steps).reshape(-1)
    return np.pad(content, (0, -len(content) % lanes))


def _pair_steps(kept: NDArray[np.bool_], places: Places, banks: int) -> NDArray[np.uint8]:
    """The steps of a pair of queries (or of the last one), uint8 [steps, banks].

    A bank's entries: first those of the first query.
    """
    columns: list[list[int]] = [[] for _ in range(banks)]
    shared = []
    loads = np.zeros((2, banks), np.int64)
    for second, row in enumerate(kept):
        keys = np.flatnonzero(row)
        one_bank = keys[places.bank[keys] >= 0]
        for key in one_bank:
            columns[places.bank[key]].append(_entry(int(places.group[key]), second))
        loads[second] = np.bincount(places.bank[one_bank], minlength=banks)
        shared.append(places.group[keys[places.bank[keys] < 0]])
    counts = [len(keys) for keys in shared] + [0] * (2 - len(shared))
    for second, (keys, shares) in enumerate(
        zip(shared, _share_out(loads, (counts[0], counts[1])), strict=False)
    ):
        for bank, own in enumerate(np.split(keys, np.cumsum(shares)[:-1])):
            columns[bank] += [_entry(int(group), second) for group in own]
    out = np.zeros((max(map(len, columns)), banks), np.uint8)
    for bank, column in enumerate(columns):
        out[: len(column), bank] = sorted(column, key=lambda entry: entry >> _SECOND & 1)
    return out


_SECOND = LIST_ENTRY["second"].offset


def _entry(group: int, second: int) -> int:
    entry = group << LIST_ENTRY["group"].offset | second << _SECOND
    return entry | 1 << LIST_ENTRY["valid"].offset


def _share_out(loads: NDArray[np.int64], counts: tuple[int, int]) -> NDArray[np.int64]:
    """Banks for the keys of either query that lie in all banks: how many each, int64 [2, banks].

    So that neither query, nor the pair, has more steps than it must; where that cannot be for all
    three, the pair has more.
    loads : int64 [2, banks], the keys of either that lie in one bank
    """
    banks = loads.shape[1]
    both = loads.sum(axis=0)
    row_steps = [
        max(int(own.max()), -(-(int(own.sum()) + count) // banks))
        for own, count in zip(loads, counts, strict=True)
    ]
    first, second = (steps - own for steps, own in zip(row_steps, loads, strict=True))
    pair_steps = max(int(both.max()), -(-(int(both.sum()) + sum(counts)) // banks))
    while True:
        room = pair_steps - both
        mine, others = np.minimum(first, room), np.minimum(second, room)
        together = np.minimum(first + second, room)
        limits = (counts[0], counts[1], sum(counts))
        sums = (mine.sum(), others.sum(), together.sum())
        if all(total >= limit for total, limit in zip(sums, limits, strict=True)):
            break
        pair_steps += 1
    # the first query's go where they take nothing from the second, and then anywhere
    own = _fill(counts[0], np.maximum(together - others, 0))
    own += _fill(counts[0] - int(own.sum()), mine - own)
    return np.stack([own, _fill(counts[1], np.minimum(second, room - own))])


def _fill(count: int, room: NDArray[np.int64]) -> NDArray[np.int64]:
    """Up to `count` keys into the banks, one after the other as far as there is room."""
    before = np.cumsum(room) - room
    return np.clip(count - before, 0, room)
