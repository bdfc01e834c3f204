"""What crosses the boundary between two units: layouts and signatures, declared once.

Streams transfer when `valid` and `ready` are both high; `valid` never waits for `ready`, and a
payload stays put until it is taken. Lane 0 and bank 0 lie in the least significant bits.
"""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spec.formats import SCALAR
from spec.isa import FULLY_CONNECTED, HEADER, SELECT, SIEVE, ScoreUse, Window
from spec.masks import GROUP_BITS
from spec.registers import Error
from spec.semaphores import SEMAPHORE_COUNT

__all__ = [
    "ADDRESS_BITS",
    "EPILOGUE_COMMAND",
    "ERROR",
    "GIVE",
    "GIVE_TOKEN",
    "ISSUED",
    "NORM_COMMAND",
    "OPTIONAL_SEMAPHORE",
    "ORIGIN_MOVES",
    "PC_BITS",
    "ROWS_BITS",
    "ROW_SCALE",
    "SELECT_COMMAND",
    "SOFTMAX_COMMAND",
    "TABLE_ENTRY",
    "WALK",
    "WINDOWS",
    "accumulators_layout",
    "origin_read_port",
    "place_layout",
    "placed_layout",
    "present_port",
    "prob_row_layout",
    "row_write_layout",
    "score_tag_layout",
    "scores_layout",
    "step_layout",
    "table_read_port",
    "table_write_layout",
    "token_read_port",
    "token_write_layout",
    "walk_layout",
]

PC_BITS = 16
ADDRESS_BITS = 18
"""Wider than any memory, so that a walk beyond the end is seen and not wrapped."""
ROWS_BITS = 12

OPTIONAL_SEMAPHORE = HEADER["token_wait"].shape

ERROR = data.StructLayout({"valid": 1, "code": Error, "pc": PC_BITS})
"""An error a unit found; it may hold `valid` for any number of cycles, the first one counts."""
GIVE = data.StructLayout({"valid": 1, "mask": SEMAPHORE_COUNT})
"""One credit to every semaphore in `mask`, in this cycle."""
GIVE_TOKEN = OPTIONAL_SEMAPHORE
"""One credit to semaphore `index` in a cycle with `valid`."""

ISSUED = data.StructLayout({"pc": PC_BITS, "word": 256})
"""An instruction whose `wait` credits have been taken: HEADER in bits 0..63, body above."""

WINDOWS = data.ArrayLayout(data.StructLayout({"base": 32, "limit": 32}), len(Window))
"""Base address and length in bytes of each DRAM window, indexed by `Window`."""


# Memories ---------------------------------------------------------------------------------------


def token_read_port(lanes: int) -> wiring.Signature:
    """A client's read port of token memory: `data` and `valid` come one cycle after the grant."""
    return wiring.Signature(
        {
            "request": Out(stream.Signature(ADDRESS_BITS)),
            "valid": In(1),
            "data": In(lanes * 8),
        }
    )


def token_write_layout(lanes: int) -> data.StructLayout:
    """A token-memory write: `mask` has a bit a lane, `pc` names the instruction for the trace."""
    return data.StructLayout(
        {"address": ADDRESS_BITS, "data": lanes * 8, "mask": lanes, "pc": PC_BITS}
    )


def row_write_layout(banks: int, lanes: int, places: bool = False) -> data.StructLayout:
    """A row-memory write of one row; with `places` also to the same word of `all_banks`."""
    return data.StructLayout(
        {
            "bank": range(banks),
            "address": ADDRESS_BITS,
            "data": lanes * 8,
            "pc": PC_BITS,
            **({"all_banks": 1} if places else {}),
        }
    )


TABLE_ENTRY = data.StructLayout({"addend": signed(32), "multiplier": 16, "shift": 6})
"""Requantize (multiplier unsigned) or LayerNorm (multiplier signed) entry of one channel."""


def table_write_layout(entries: int) -> data.StructLayout:
    """A table-memory write of one word of `entries` TABLE_ENTRYs."""
    return data.StructLayout(
        {"address": ADDRESS_BITS, "data": data.ArrayLayout(TABLE_ENTRY, entries)}
    )


def table_read_port(entries: int) -> wiring.Signature:
    """A client's read port of a table memory: data one cycle after `enable`, held until the next.

    Word address: table * (lanes / entries) + group; entry e of a word is lane group * entries + e.
    """
    return wiring.Signature(
        {
            "enable": Out(1),
            "address": Out(ADDRESS_BITS),
            "data": In(data.ArrayLayout(TABLE_ENTRY, entries)),
        }
    )


# Places of keys and values ------------------------------------------------------------------------


def place_layout(banks: int) -> data.StructLayout:
    """Where a row goes, of the row memory: see `spec.masks.POSITION`.

    offset : group * target_stride; bad : there is no such place
    """
    return data.StructLayout(
        {"bank": range(banks), "group": GROUP_BITS, "all_banks": 1, "offset": 16, "bad": 1}
    )


def placed_layout(banks: int) -> data.StructLayout:
    """A row has been written to its place, or to that group of all banks."""
    return data.StructLayout(
        {"valid": 1, "bank": range(banks), "group": GROUP_BITS, "all_banks": 1}
    )


def present_port(banks: int) -> wiring.Signature:
    """Asks whether a key is at this group of each bank; the answer comes in the same cycle."""
    return wiring.Signature(
        {"group": Out(data.ArrayLayout(GROUP_BITS, banks)), "present": In(banks)}
    )


def origin_read_port() -> wiring.Signature:
    """Asks for the token that a live row was at LIVE: `origin` and `valid` a cycle after the grant.

    A request stays as it is until it is taken, as in any stream.
    """
    return wiring.Signature(
        {
            "row": Out(stream.Signature(ROWS_BITS)),
            "valid": In(1),
            "origin": In(ROWS_BITS),
        }
    )


ORIGIN_MOVES = data.StructLayout(
    {
        "start": 1,
        "first": ROWS_BITS,
        "read": 1,
        "stays": 1,
        "package": 1,
        "number": ROWS_BITS,
        "end": 1,
    }
)
"""A SELECT moves origins as it moves rows: from row `first` on, which comes with `start`.

A row is looked at in every cycle with `read`; `stays` one cycle later: it moves to the next place.
`package` puts a package row behind the last one, with `number` others before it. `end`: all moved.
"""


# Index engine and array -------------------------------------------------------------------------

WALK = data.StructLayout(
    {
        "base": ADDRESS_BITS,
        "count": 16,
        "stride": 4,
        "words": 4,
        "offset": 4,
    }
)
"""One pass over `count` matrix rows, row r in bank r mod banks.

Bank word of row r, inner word w: base + r // banks * stride + offset + w, for w in 0..words - 1.
Fully connected: count = depth, stride = words = 1. Scores: count = keys, stride = words =
head_words. P.V: count = keys, stride = head_words, words = 1, offset = the output word.
"""


def walk_layout(sparse: bool = False) -> data.StructLayout:
    """A WALK; `sparse`: of a machine whose steps may leave rows out.

    search : fully connected, only the rows whose scalar is not `zero_point`; the scalars are
    those of the next row of operand words.
    """
    search = {"search": 1, "zero_point": signed(8)} if sparse else {}
    return data.StructLayout({**WALK.members, **search})


def step_layout(banks: int, sparse: bool = False, pairs: bool = False) -> data.StructLayout:
    """One array step: for each bank a row address, whether it takes part, and its scalar's address.

    `scalar` counts the rows' groups of `banks` (dense: the same for all banks); `word` is the
    inner word. `first` and `last` mark the pass, `group_first` and `group_last` the inner words.
    In a machine whose steps may leave rows out (`sparse`), a step with `sparse` carries its
    scalars itself, in `code`; `scalar` then means nothing. `tag` (with `pairs`) is that of scores.
    """
    code = {"sparse": 1, "code": data.ArrayLayout(signed(SCALAR.bits), banks)} if sparse else {}
    return data.StructLayout(
        {
            "address": data.ArrayLayout(ADDRESS_BITS, banks),
            "valid": banks,
            "scalar": data.ArrayLayout(16, banks),
            "word": 4,
            "first": 1,
            "last": 1,
            "group_first": 1,
            "group_last": 1,
            **code,
            **({"tag": score_tag_layout(banks)} if pairs else {}),
        }
    )


def accumulators_layout(lanes: int) -> data.ArrayLayout:
    """A finished accumulation: ACC of `lanes` output channels."""
    return data.ArrayLayout(signed(32), lanes)


def score_tag_layout(banks: int) -> data.StructLayout:
    """Of a word of scores of a pair of queries: whose each is, and the place of its key."""
    return data.StructLayout({"second": banks, "group": data.ArrayLayout(GROUP_BITS, banks)})


def scores_layout(banks: int, pairs: bool = False) -> data.StructLayout:
    """Raw scores of `banks` keys; `valid` masks the keys there are, `last` ends the row.

    With `pairs`, `tag` is a `score_tag_layout`; 0 for rows of a single query.
    """
    return data.StructLayout(
        {
            "values": data.ArrayLayout(signed(32), banks),
            "valid": banks,
            "last": 1,
            **({"tag": score_tag_layout(banks)} if pairs else {}),
        }
    )


# Commands: an instruction's fields, as each unit needs them ---------------------------------------

_FC = FULLY_CONNECTED.members

EPILOGUE_COMMAND = data.StructLayout(
    {
        "pc": PC_BITS,
        "attention": 1,
        "rows": ROWS_BITS,
        "destination": _FC["destination"],
        "target": 16,
        "target_stride": 8,
        "table": 16,
        "activation": _FC["activation"],
        "activation_multiplier": 16,
        "activation_shift": 6,
        "activation_zero_point": signed(8),
        "accumulate": 1,
        "partial": 16,
        "broadcast": 1,
        "head_words": 4,
        "head_dim": 8,
        "first_lane": 8,
        "token_signal": OPTIONAL_SEMAPHORE,
        "signal": SEMAPHORE_COUNT,
        "threshold": SIEVE["threshold"].shape,
        "placed": 1,
        "positions": 16,
    }
)
"""`rows` results (attention: rows x head_words) will come from the array: where they go.

The last three are of SIEVE; `threshold` is the context's for attention.
"""

SOFTMAX_COMMAND = data.StructLayout(
    {
        "pc": PC_BITS,
        "rows": ROWS_BITS,
        "score_multiplier": 16,
        "score_shift": 6,
        "output_multiplier": 16,
        "output_shift": 6,
        "scores": ScoreUse,
        "skip_zeros": 1,
        "masked": 1,
        "score_threshold": SIEVE["score_threshold"].shape,
        "prob_threshold": SIEVE["prob_threshold"].shape,
    }
)
"""`rows` score rows will come from the array; what the first one's probabilities are for.

The last four are of SIEVE.
"""

ROW_SCALE = data.StructLayout({"multiplier": 16, "shift": 6})
"""Requantizer of one attention row's P.V."""


def prob_row_layout(prob_words: int, banks: int = 0) -> data.StructLayout:
    """A finished probability row in the ring: where it starts and its length in words.

    With `banks`, of a packed ring: how many entries each bank has.
    """
    counts = data.ArrayLayout(range(prob_words + 1), banks)
    return data.StructLayout(
        {"address": range(prob_words), "words": 16, **({"counts": counts} if banks else {})}
    )


NORM_COMMAND = data.StructLayout(
    {
        "pc": PC_BITS,
        "source": 16,
        "source_stride": 8,
        "target": 16,
        "target_stride": 8,
        "channels": 12,
        "rows": ROWS_BITS,
        "table": 16,
        "epsilon": unsigned(32),
        "fraction_bits": 4,
        "token_wait": OPTIONAL_SEMAPHORE,
        "token_signal": OPTIONAL_SEMAPHORE,
        "signal": SEMAPHORE_COUNT,
    }
)
"""A NORMALIZE instruction with its row count resolved."""

SELECT_COMMAND = data.StructLayout(
    {
        "pc": PC_BITS,
        "rows": ROWS_BITS,
        "packages": ROWS_BITS,
        **dict(SELECT.members),
    }
)
"""A SELECT instruction; the live rows, and how many of them are package rows."""
