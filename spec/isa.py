"""The instruction set: 256-bit words, declared once for assembler, disassembler and RTL.

Every word is a 64-bit `HEADER` and a 192-bit body whose layout depends on the opcode. Four queues
(load, array, vector, store) execute their instructions in program order and meet only through
`Semaphore` counters: an instruction takes one credit from every semaphore in `wait` before it
starts and gives one to every semaphore in `signal` when its last write is done. `token_wait` and
`token_signal` do the same for each token row, so that a consumer follows its producer row by row.

Addresses: `token` addresses count token-memory words of `lanes` bytes, `row` addresses count
words of one row-memory bank, DRAM offsets count bytes within a `Window`.
"""

from collections.abc import Iterable

from amaranth.hdl import signed, unsigned
from amaranth.lib import data, enum

from spec.choices import Activation, Destination, Package, Scores, ScoreUse
from spec.config import MAX_HEAD_GROUPS
from spec.semaphores import SEMAPHORE_COUNT, Queue

__all__ = [
    "ATTENTION",
    "BODIES",
    "FULLY_CONNECTED",
    "GATE",
    "HALT",
    "HEADER",
    "HEAD_SCALE",
    "HEAD_SCALES",
    "INSTRUCTION_BITS",
    "INSTRUCTION_BYTES",
    "LIVE",
    "LOAD_NORM",
    "LOAD_TOKENS",
    "LOAD_WEIGHTS",
    "NORMALIZE",
    "PARTIAL_WORDS",
    "QUEUE_OF",
    "SELECT",
    "SIEVE",
    "STORE_TOKENS",
    "Activation",
    "Destination",
    "Opcode",
    "Package",
    "ScoreUse",
    "Scores",
    "Window",
    "program_parts",
]

INSTRUCTION_BITS = 256
INSTRUCTION_BYTES = INSTRUCTION_BITS // 8


class Opcode(enum.Enum, shape=8):
    """What an instruction does; 0 is undefined so that zeroed memory stops the machine."""

    LOAD_WEIGHTS = 1
    LOAD_TOKENS = 2
    LOAD_NORM = 3
    FULLY_CONNECTED = 4
    ATTENTION = 5
    NORMALIZE = 6
    LIVE = 7
    STORE_TOKENS = 8
    HALT = 9
    HEAD_SCALES = 10
    SELECT = 11
    SIEVE = 12
    GATE = 13


QUEUE_OF = {
    Opcode.LOAD_WEIGHTS: Queue.LOAD,
    Opcode.LOAD_TOKENS: Queue.LOAD,
    Opcode.LOAD_NORM: Queue.LOAD,
    Opcode.FULLY_CONNECTED: Queue.ARRAY,
    Opcode.ATTENTION: Queue.ARRAY,
    Opcode.HEAD_SCALES: Queue.ARRAY,
    Opcode.SIEVE: Queue.ARRAY,
    Opcode.NORMALIZE: Queue.VECTOR,
    Opcode.LIVE: Queue.VECTOR,
    Opcode.SELECT: Queue.VECTOR,
    Opcode.STORE_TOKENS: Queue.STORE,
}
"""GATE and HALT belong to no queue: the dispatcher waits until all four have drained."""


class Window(enum.Enum, shape=3):
    """DRAM windows, each with a base and a byte limit register. Only the last two are writable."""

    PROGRAM = 0
    """instructions, read by the fetcher"""
    WEIGHTS = 1
    """position embedding, tables and weights"""
    INPUT = 2
    """the patches of an image"""
    SCRATCH = 3
    """rows that do not fit on chip; writable"""
    RESULT = 4
    """class logits; writable"""


PARTIAL_WORDS = 4
"""Token-memory words of one row of int32 sums.

For each group of `vector_lanes` channels in turn: the low halves of its sums, then the high ones.
"""


_OPTIONAL_SEMAPHORE = data.StructLayout({"index": 4, "valid": 1})
_ROWS = data.StructLayout({"count": 12, "live": 1})
"""A number of token rows: `count`, or with `live` set the live-token register minus `count`.

With `live` and a `row_limit` in the header: at most that many, and possibly none. Then the
instruction takes and gives its credits and does nothing else.
"""

_FURTHER = (MAX_HEAD_GROUPS - 1).bit_length()
"""Bits of the number of head groups that take part besides group 0."""

HEADER = data.StructLayout(
    {
        "opcode": Opcode,
        "wait": SEMAPHORE_COUNT,
        "signal": SEMAPHORE_COUNT,
        "token_wait": _OPTIONAL_SEMAPHORE,
        "token_signal": _OPTIONAL_SEMAPHORE,
        "row_limit": 12,
        "reserved": 2,
    }
)

LOAD_WEIGHTS = data.StructLayout(
    {
        "offset": 32,
        "row": 16,
        "depth": 16,
        "table": 16,
        "further_groups": _FURTHER,
        "live_above": 12,
    }
)
"""WEIGHTS window -> column table `table` (lanes entries), then `depth` weight rows of lanes bytes.

Weight row k goes to bank k mod banks, bank word `row` + k // banks. Tables and rows of head groups
1 .. `further_groups` follow in DRAM, for the same places in these groups. With a `live_above` other
than 0, nothing is loaded unless more tokens are alive; the credits are taken and given.
"""

LOAD_TOKENS = data.StructLayout(
    {
        "offset": 32,
        "window": Window,
        "token": 16,
        "words": 8,
        "stride": 16,
        "rows": 12,
        "live": 1,
        "first": 12,
    }
)
"""`rows` rows of `words` token-memory words, contiguous in DRAM; row t at token + t * stride.

With `live`, row 0 is token `first`: only rows of live tokens, at most `rows`, and possibly none.
"""

LOAD_NORM = data.StructLayout({"offset": 32, "table": 16, "channels": 12})
"""WEIGHTS window -> LayerNorm table entries `table * lanes` on; `channels` a multiple of lanes."""

FULLY_CONNECTED = data.StructLayout(
    {
        "source": 16,
        "source_stride": 8,
        "zero_point": signed(8),
        "depth": 16,
        "row": 16,
        "table": 16,
        "columns": 8,
        "rows": _ROWS,
        "destination": Destination,
        "target": 16,
        "target_stride": 8,
        "activation": Activation,
        "activation_multiplier": 16,
        "activation_shift": 6,
        "activation_zero_point": signed(8),
        "accumulate": 1,
        "partial": 16,
        "group_words": 4,
        "broadcast": 1,
    }
)
"""One column block of a fully connected layer, over `rows` token rows.

Row t: `depth` int8 scalars from word source + t * source_stride on (minus `zero_point`), times the
weight rows at `row`, requantized by column table `table`, to target + t * target_stride. For
`Destination.ROWS`, row t goes to bank t mod banks, word target + t // banks * target_stride.
`columns` lanes are valid; the others carry zero weights and entries.

A layer with more inputs than fit takes several instructions: all but the last have
`Destination.PARTIAL`, all but the first `accumulate`: row t adds the sums at partial + t *
`PARTIAL_WORDS` to its own. They are read after all earlier instructions' writes. Its own sums go
to the same rows or elsewhere. With `broadcast`, every row adds the sums of row 0, the only one.

With several head groups, lane l of group g is column g * lanes + l: up to head_groups column blocks
side by side, as many as `columns` reaches into. Group g has its own weights and table at `row` and
`table`, and writes to target + g * `group_words` + t * target_stride (`Destination.ROWS`: to its
own row memory, at the same words). Its sums, as `Destination.PARTIAL` and to be added, lie behind
those of all rows of group g - 1.
"""

HEAD_SCALE = {
    "score_multiplier": 16,
    "score_shift": 6,
    "output_multiplier": 16,
    "output_shift": 6,
}

ATTENTION = data.StructLayout(
    {
        "query": 16,
        "query_stride": 8,
        "key": 16,
        "value": 16,
        "head_words": 4,
        "head_dim": 8,
        "first_lane": 8,
        "target": 16,
        "target_stride": 8,
        "queries": _ROWS,
        "keys": _ROWS,
        **HEAD_SCALE,
        "further_groups": _FURTHER,
        "scores": ScoreUse,
    }
)
"""One head: softmax(Q K^T) V over `queries` x `keys` tokens.

A head takes `head_words` words; in word w the lanes first_lane .. first_lane + min(lanes, head_dim
- w * lanes) - 1 are its own, the others are masked out of the scores and not written.
Key (value) row t lies in bank t mod banks, words key + t // banks * head_words + w.
Query row t: words query + t * query_stride + w; output row likewise at target.

With several head groups, groups 1 .. `further_groups` do a head each beside that of group 0. Group
g takes its query at query + g * head_words, its keys and values from its own row memory, and its
multipliers and shifts from the last HEAD_SCALES; it writes at target + g * head_words.

With a `ScoreUse`, the probabilities of query row 0, divided by their sum, become or are added to
the scores of the keys, in units of SCORE.
"""

HEAD_SCALES = data.StructLayout(
    {
        f"{name}_{group}": bits
        for group in range(1, MAX_HEAD_GROUPS)
        for name, bits in HEAD_SCALE.items()
    }
)
"""The multipliers and shifts of groups 1.. for the ATTENTION instructions that follow."""

SIEVE = data.StructLayout(
    {
        "skip_zeros": 1,
        "threshold": 15,
        "masked": 1,
        "lists": 16,
        "list_words": 16,
        "placed": 1,
        "positions": 16,
        "forget": 1,
        "score_threshold": 15,
        "prob_threshold": 8,
        "context_threshold": 8,
    }
)
"""What the array drops, for the FULLY_CONNECTED and ATTENTION that follow, until the next SIEVE.

At the start of a program all fields are 0. A threshold makes values 0 whose magnitude does not
exceed it: the requantized results of FULLY_CONNECTED before activation, clip or residual (not those
of `Destination.PARTIAL`); of ATTENTION the logits, the probabilities (whose sum stays as it was)
and the context. `skip_zeros`: scalars that are 0 cost no step (FULLY_CONNECTED: `depth` scalars;
ATTENTION: probabilities).

With `placed`, row t of a `Destination.ROWS` goes to the place of its token in the list of
`spec.masks.POSITION` at token word `positions`, bank word target + group * target_stride; with
`all_banks` to that word of every bank. Places are *present* once they are written; `forget` makes
none present. With `masked`, ATTENTION scores only the kept pairs of the `list_words` words of lists
at token word `lists` (see `spec.masks`), and needs `placed` keys and values.
"""

NORMALIZE = data.StructLayout(
    {
        "source": 16,
        "source_stride": 8,
        "target": 16,
        "target_stride": 8,
        "channels": 12,
        "rows": _ROWS,
        "table": 16,
        "epsilon": unsigned(32),
        "fraction_bits": 4,
    }
)
"""LayerNorm over `rows` residual rows: int16 word pairs at source -> int8 words at target."""

LIVE = data.StructLayout({"tokens": 12})
"""Sets the live-token register; there are no package rows."""

SELECT = data.StructLayout(
    {
        "source": 16,
        "stride": 8,
        "words": 8,
        "keep": 16,
        "attend": 16,
        "score_stride": 8,
        "heads": 5,
        "prefix": 4,
        "threshold": 16,
        "weight_shift": 4,
        "scores": Scores,
        "package": Package,
        "each": 1,
        "more": 1,
    }
)
"""Drops token rows: the live rows at source, `words` words each, `stride` apart, int16 channels.

The first `prefix` rows stay. Every row behind them has a score. `Scores.CLASSIFIER`: from `heads`
int16 keep logits (units of 2**-7 octave) at keep + t * score_stride and as many attention logits
(units of 2**-8) at attend + t * score_stride. A row is kept if its score reaches `threshold`.
Kept rows move up, in their order. Package rows, the last ones, are always kept with `each`; without
it there is at most one, and it is dropped. What is dropped makes, by `package`, one new row behind
the kept ones, with weights of score >> weight_shift, 255 at most, or of 1. With `Package.NONE` the
first row behind the prefix stays if no other does. The live-token register becomes the number of
rows that are left; with `more` not yet, because a SELECT of other words of the same rows follows.
"""

STORE_TOKENS = data.StructLayout(
    {
        "offset": 32,
        "window": Window,
        "token": 16,
        "words": 8,
        "stride": 16,
        "rows": 12,
        "live": 1,
        "first": 12,
    }
)
"""The reverse of LOAD_TOKENS, into a writable window."""

GATE = data.StructLayout(
    {
        "token": 16,
        "classes": 16,
        "multiplier": 16,
        "shift": 6,
        "threshold": 16,
        "skipped": 8,
    }
)
"""Ends the program, as HALT does, if the entropy of class logits is at most `threshold`.

The `classes` int16 logits lie from token word `token` on, without gaps; `multiplier` and `shift`
bring them to units of 2**-7 octave (see `spec.formats.GateConstants`). Otherwise the program goes
on with the next instruction as if it began there: no credits, no live tokens, no SIEVE. What
memories hold stays. `skipped` is counted, see HALT.
"""

HALT = data.StructLayout({"skipped": 8})
"""The end. Adds 1 to the counter `efforts` and `skipped` to `attentions_skipped`."""

BODIES = {
    Opcode.LOAD_WEIGHTS: LOAD_WEIGHTS,
    Opcode.LOAD_TOKENS: LOAD_TOKENS,
    Opcode.LOAD_NORM: LOAD_NORM,
    Opcode.FULLY_CONNECTED: FULLY_CONNECTED,
    Opcode.ATTENTION: ATTENTION,
    Opcode.NORMALIZE: NORMALIZE,
    Opcode.LIVE: LIVE,
    Opcode.SELECT: SELECT,
    Opcode.STORE_TOKENS: STORE_TOKENS,
    Opcode.HALT: HALT,
    Opcode.HEAD_SCALES: HEAD_SCALES,
    Opcode.SIEVE: SIEVE,
    Opcode.GATE: GATE,
}

ENDS = (Opcode.GATE.value, Opcode.HALT.value)


def program_parts(opcodes: Iterable[int]) -> list[range]:
    """The program counters of each part of a program: a part ends with its GATE or HALT."""
    ends = [pc + 1 for pc, code in enumerate(opcodes) if code in ENDS]
    return [range(first, end) for first, end in zip([0, *ends], ends, strict=False)]
