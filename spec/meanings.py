"""What registers, counters and instruction fields mean, in words: the text of the documents."""

from spec.config import MAX_HEAD_GROUPS
from spec.isa import HEAD_SCALE, Opcode

__all__ = ["COUNTER_MEANINGS", "FIELD_MEANINGS", "HEADER_MEANINGS", "REGISTER_MEANINGS"]

REGISTER_MEANINGS = {
    "ID": ("read", "`SVIT`, 0x53564954"),
    "VERSION": ("read", "of instruction set and register map"),
    "CONFIG_DIGEST_LOW": (
        "read",
        "low half of `Config.digest()`; an image names the digest it needs",
    ),
    "CONFIG_DIGEST_HIGH": ("read", "its high half"),
    "CONTROL": ("write", "commands, see below; reads as 0"),
    "STATUS": ("read", "see below; 0 when a program may start"),
    "ERROR_CODE": ("read", "why the last program was stopped"),
    "ERROR_PC": ("read", "the instruction that was at fault, counted from 0"),
    "INTERRUPT_ENABLE": ("read, write", "bit 0: the interrupt line is high in DONE and in ERROR"),
    "WATCHDOG": ("read, write", "cycles without progress that stop a program, at least 1"),
    "LIVE_TOKENS": ("read", "the live-token register of this run or the last"),
}
"""Register -> access and content."""

COUNTER_MEANINGS = {
    "cycles": "cycles of the run",
    "array_busy_cycles": "cycles in which the array took a step",
    "macs_done": "multiplications with operands that count: no pad lane, no missing row",
    "macs_skipped_masked": "multiplications of scores and P.V between live tokens that masks drop",
    "macs_skipped_zero": "multiplications left out because their scalar is 0",
    "idle_banks": "banks that took no part in a step, of walks that skip zeros or follow lists",
    "index_words_read": "token-memory words of lists that the array read",
    "values_cleared": "values other than 0 that a threshold of SIEVE made 0",
    "row_words_read": "words the array read from row memory, all banks",
    "dram_program_bytes": "bytes of instructions read",
    "dram_weights_bytes": "bytes read from the WEIGHTS window",
    "dram_input_bytes": "bytes read from the INPUT window",
    "dram_scratch_bytes": "bytes read from and written to the SCRATCH window",
    "dram_result_bytes": "bytes written to the RESULT window",
    "residual_saturations": "sums that `residual_add` clipped",
    "logit_saturations": "attention logits that were clipped",
    "instructions": "instructions dispatched, HALT included",
    "efforts": "passes of the network, each up to a GATE or to HALT",
    "attentions_skipped": "encoder blocks without attention, over these passes",
}
"""Counter -> meaning, but for the stalls, which `docs/architecture.md` explains."""

HEADER_MEANINGS = {
    "opcode": "what to do; it decides the body and the queue",
    "wait": "one credit of each semaphore in this mask is taken before the instruction starts",
    "signal": "one credit of each is given when its last write is done",
    "token_wait": "one credit of semaphore `index` is taken before each row, if `valid`",
    "token_signal": "one credit is given after each row's last write, if `valid`",
    "row_limit": "most rows of an instruction whose rows are `live`; 0: no limit",
    "reserved": "must be 0",
}

_TRANSFER = {
    "offset": "byte offset in the window, a multiple of the bus width",
    "window": "which window",
    "token": "token word of row 0",
    "words": "words of a row",
    "stride": "words from one row to the next",
    "rows": "rows, or with `live` most rows",
    "live": "only rows of live tokens",
    "first": "with `live`: the token of row 0",
}
_ROWS = "token rows: `count`, or live tokens minus `count` if `live`"

FIELD_MEANINGS: dict[Opcode, dict[str, str]] = {
    Opcode.LOAD_WEIGHTS: {
        "offset": "byte offset in the WEIGHTS window, a multiple of the bus width",
        "row": "bank word of weight row 0",
        "depth": "weight rows",
        "table": "column table to fill",
        "further_groups": "head groups filled besides group 0",
        "live_above": "load only if more tokens are alive",
    },
    Opcode.LOAD_TOKENS: _TRANSFER,
    Opcode.LOAD_NORM: {
        "offset": "byte offset in the WEIGHTS window, a multiple of the bus width",
        "table": "first LayerNorm table to fill",
        "channels": "entries, a multiple of lanes",
    },
    Opcode.FULLY_CONNECTED: {
        "source": "token word of row 0's first scalar",
        "source_stride": "words from one row to the next",
        "zero_point": "subtracted from each scalar",
        "depth": "scalars of a row, and weight rows",
        "row": "bank word of weight row 0",
        "table": "column table",
        "columns": "lanes that mean something, over all head groups",
        "rows": _ROWS,
        "destination": "where results go",
        "target": "word of row 0's result",
        "target_stride": "words from one row (ROWS: one group of `banks` rows) to the next",
        "activation": "for int8 results",
        "activation_multiplier": "GELU: from gelu's unit to codes",
        "activation_shift": "GELU: likewise",
        "activation_zero_point": "GELU: the code of 0",
        "accumulate": "add the sums at `partial` before requantization",
        "partial": "token word of row 0's sums",
        "group_words": "words from one head group's result to the next one's",
        "broadcast": "the sums at `partial` are one row, for all rows",
    },
    Opcode.ATTENTION: {
        "query": "token word of query row 0",
        "query_stride": "words from one query row to the next",
        "key": "bank word of key row 0",
        "value": "bank word of value row 0",
        "head_words": "words of a head",
        "head_dim": "channels of a head",
        "first_lane": "lane of its first channel",
        "target": "token word of output row 0",
        "target_stride": "words from one output row to the next",
        "queries": _ROWS,
        "keys": _ROWS,
        "score_multiplier": "from scores to logits",
        "score_shift": "likewise",
        "output_multiplier": "scale of V over that of the output",
        "output_shift": "likewise, at most 31",
        "further_groups": "head groups that do a head each besides group 0",
        "scores": "what the first row's probabilities are for",
    },
    Opcode.NORMALIZE: {
        "source": "token word of residual row 0",
        "source_stride": "words from one row to the next",
        "target": "token word of result row 0",
        "target_stride": "words from one row to the next",
        "channels": "D, 1..1,023",
        "rows": _ROWS,
        "table": "first LayerNorm table",
        "epsilon": "D^2 times the real epsilon, in units of the squared residual",
        "fraction_bits": "fraction bits of y",
    },
    Opcode.LIVE: {"tokens": "new value of the live-token register"},
    Opcode.SELECT: {
        "source": "token word of residual row 0",
        "stride": "words from one row to the next",
        "words": "words of a row",
        "keep": "token word of row 0's keep logits",
        "attend": "token word of row 0's attention logits",
        "score_stride": "words from one row of either to the next",
        "heads": "logits of a row, at most `lanes`",
        "prefix": "rows that stay",
        "threshold": "least score that is kept, in units of 2**-14",
        "weight_shift": "from a score to a weight",
        "scores": "where they come from",
        "package": "what becomes of the dropped rows",
        "each": "every selection has a package row of its own",
        "more": "other words of the same rows follow: the live tokens do not change yet",
    },
    Opcode.STORE_TOKENS: _TRANSFER,
    Opcode.HALT: {"skipped": "blocks without attention, to be counted"},
    Opcode.HEAD_SCALES: {
        f"{name}_{group}": f"as in ATTENTION, for head group {group}"
        for group in range(1, MAX_HEAD_GROUPS)
        for name in HEAD_SCALE
    },
    Opcode.SIEVE: {
        "skip_zeros": "scalars that are 0 cost no step",
        "threshold": "of FULLY_CONNECTED results, in their units before the activation",
        "masked": "ATTENTION follows lists of kept scores",
        "lists": "token word of the lists",
        "list_words": "their words",
        "placed": "K and V rows go to places",
        "positions": "token word of the list of places",
        "forget": "no place is present",
        "score_threshold": "of logits",
        "prob_threshold": "of probabilities, in units of 1/255 of the row's maximum",
        "context_threshold": "of the context",
    },
    Opcode.GATE: {
        "token": "token word of the first logits",
        "classes": "logits",
        "multiplier": "from their unit to 2**-7 octave",
        "shift": "likewise, at most 48",
        "threshold": "highest entropy that ends the program, in units of 2**-10 bit",
        "skipped": "blocks without attention, to be counted",
    },
}
