"""Fixed attention masks: which scores of a head are kept (ViTCoD), as files and machines hold them.

A model file holds CSC: the queries of every key. A machine reads *lists*: queries go in pairs,
tokens 2i and 2i + 1 of the image as it came in. A pair is a header step and up to 255 steps of
entries, `banks` bytes each, packed into token-memory words of `lanes` bytes, pair after pair. A
header's first byte is the number of steps, its other bytes are 0. In a step, byte b is a
`LIST_ENTRY` of bank b: the key at place `group` of that bank, for the first or second query of the
pair. Each kept (query, key) stands in one entry. Package tokens follow the image's tokens, in both
the queries and the places. Pairs of which no query is alive, and entries of dead queries and of
places that are not present, do nothing.
"""

import numpy as np
from amaranth.lib import data
from numpy.typing import NDArray

from spec.formats import GROUP_BITS

__all__ = [
    "GROUP_BITS",
    "LIST_ENTRY",
    "MAX_STEPS",
    "POSITION",
    "POSITION_BYTES",
    "MaskError",
    "kept_scores",
    "masked_tensors",
]

MAX_STEPS = 255

LIST_ENTRY = data.StructLayout({"group": GROUP_BITS, "second": 1, "valid": 1})
"""A kept score: key at place `group` of the byte's bank; `second`: of the pair's second query."""

POSITION = data.StructLayout({"group": 8, "bank": 4, "reserved": 3, "all_banks": 1})
"""Where a token's keys and values lie: place `group` of `bank`, or of all banks."""
POSITION_BYTES = 2


class MaskError(ValueError):
    """Pointers or indices that are no mask: says which and where."""


def masked_tensors(
    kept: NDArray[np.bool_],
) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """The CSC form of kept scores.

    kept : bool [heads, queries, keys]
    result : pointers uint32 [heads, keys + 1] into indices uint16 [kept scores]: the queries of
        each key, ascending; head after head
    """
    heads, _, keys = kept.shape
    columns = kept.transpose(0, 2, 1)
    counts = columns.sum(axis=-1).reshape(-1)
    ends = np.concatenate([[0], np.cumsum(counts)])
    pointers = np.lib.stride_tricks.sliding_window_view(ends, keys + 1)[::keys][:heads]
    return pointers.astype(np.uint32), np.nonzero(columns)[2].astype(np.uint16)


def _place(column: np.integer, keys: int) -> str:
    return f"head {column // keys}, key {column % keys}"


def kept_scores(
    pointers: NDArray[np.uint32], indices: NDArray[np.uint16], always: int = 0
) -> NDArray[np.bool_]:
    """Check the CSC form and return kept scores, bool [heads, queries, keys].

    always : every query must keep one of the first `always` keys, which are never dropped; 0: any
    """
    heads, keys = pointers.shape[0], pointers.shape[1] - 1
    count = len(indices)
    starts, stops = (
        part.reshape(-1).astype(np.int64) for part in (pointers[:, :-1], pointers[:, 1:])
    )
    begins = np.concatenate([[0], stops[:-1]])
    for wrong in np.nonzero((starts != begins) | (stops < starts) | (stops > count))[0]:
        raise MaskError(
            f"pointers: {_place(wrong, keys)}: {starts[wrong]}..{stops[wrong]} must begin at "
            f"{begins[wrong]}, not run backwards, and end at {count} at most"
        )
    if stops[-1] != count:
        raise MaskError(f"pointers: they end at {stops[-1]}, there are {count} indices")
    columns = np.repeat(np.arange(heads * keys), stops - starts)
    queries = indices.astype(np.int64)
    for wrong in np.nonzero((np.diff(queries) <= 0) & (np.diff(columns) == 0))[0]:
        place = _place(columns[wrong], keys)
        raise MaskError(f"indices: {place}: the queries must be ascending")
    for wrong in np.nonzero(queries >= keys)[0]:
        raise MaskError(
            f"indices: {_place(columns[wrong], keys)}: query {queries[wrong]} must be below "
            f"{keys}, the tokens"
        )
    kept = np.zeros((heads, keys, keys), np.bool_)
    kept[columns // keys, queries, columns % keys] = True
    seen = kept[:, :, : always or keys].any(axis=-1)
    if not seen.all():
        head, query = np.argwhere(~seen)[0]
        what = f"one of the first {always} keys, which stay" if always else "a key"
        raise MaskError(f"head {head}, query {query}: must keep {what}")
    return kept
