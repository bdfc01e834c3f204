"""AXI4-Lite registers, error codes and the machine's own counters: each stands here, once.

All registers are 32 bits. Counters are 48 bits wide and take two registers, low word first; a
read of the low word latches the high one.
"""

from amaranth.lib import enum

from spec.formats import COUNTER_BITS
from spec.isa import Window

__all__ = [
    "COUNTERS",
    "COUNTER_BITS",
    "MAGIC",
    "REGISTERS",
    "STALLS",
    "Control",
    "Error",
    "Status",
    "counter_address",
    "window_address",
]

MAGIC = 0x53564954
"""`SVIT`, the ID register."""
VERSION = 1
"""Of the instruction set and the register map together."""


class Error(enum.Enum, shape=8):
    """Why the machine stopped; STATUS.error is set and ERROR_PC names the instruction."""

    NONE = 0
    """no error"""
    OPCODE = 1
    """undefined opcode, or a reserved header bit set"""
    OPERAND = 2
    """a field no instruction can have: zero rows, zero depth, an undefined enumeration"""
    TOKEN_ADDRESS = 3
    """a token-memory word that is not there"""
    ROW_ADDRESS = 4
    """a row-memory word that is not there"""
    TABLE_ADDRESS = 5
    """a column or LayerNorm table that is not there"""
    WINDOW = 6
    """a DRAM access beyond its window's limit, unaligned, or a store to a read-only window"""
    BUS_READ = 7
    """AXI SLVERR or DECERR on a read"""
    BUS_WRITE = 8
    """AXI SLVERR or DECERR on a write"""
    SEMAPHORE = 9
    """a semaphore given by a queue that does not produce it, taken by one that does not consume
    it, or overflowing"""
    WATCHDOG = 10
    """nothing moved for WATCHDOG cycles: a deadlocked program or a stuck peer"""
    INDEX = 11
    """a list of kept scores that makes no sense: a pair of rows without steps or with more than a
    ring holds, a header that is none, or a query that keeps no key; or a row whose place is none"""


class Control(enum.Flag, shape=32):
    """Bits of the CONTROL register; each acts when 1 is written."""

    START = 1
    """run the program; ignored unless STATUS is 0, and together with CLEAR"""
    CLEAR = 2
    """leave the done or error state; also stops a running program"""


class Status(enum.Flag, shape=32):
    """Bits of the STATUS register."""

    BUSY = 1
    """a program runs"""
    DONE = 2
    """HALT was reached and every write is done"""
    ERROR = 4
    """the program was stopped; ERROR_CODE and ERROR_PC say why and where"""
    DRAINING = 8
    """outstanding bus transfers of a stopped program are being drained; START waits for the end"""


STALLS = (
    "load",
    "port_conflict",
    "bank_imbalance",
    "softmax",
    "vector",
    "dependency",
    "issue",
    "fetch",
    "drain",
    "unattributed",
)
"""Why the array did not take a step: every cycle of a run is busy or exactly one of these.

load: weights or tokens not yet loaded; port_conflict: an operand read lost the token-memory port;
bank_imbalance: the search for scalars or list entries found none in what it has; softmax: the
probability row or ring space is not there yet; vector: the epilogue or LayerNorm is behind;
dependency: a result of an earlier array or store instruction is not there yet; issue: operands of
a just-started instruction or row are on their way; fetch: no instruction has arrived; drain: the
array has finished, other queues have not; unattributed: none of these, must be 0.
"""

COUNTERS = (
    "cycles",
    "array_busy_cycles",
    *(f"stall_{cause}_cycles" for cause in STALLS),
    "macs_done",
    "macs_skipped_masked",
    "macs_skipped_zero",
    "idle_banks",
    "index_words_read",
    "values_cleared",
    "row_words_read",
    "dram_program_bytes",
    "dram_weights_bytes",
    "dram_input_bytes",
    "dram_scratch_bytes",
    "dram_result_bytes",
    "residual_saturations",
    "logit_saturations",
    "instructions",
    "efforts",
    "attentions_skipped",
)

REGISTERS = {
    "ID": 0x000,
    "VERSION": 0x004,
    "CONFIG_DIGEST_LOW": 0x008,
    "CONFIG_DIGEST_HIGH": 0x00C,
    "CONTROL": 0x010,
    "STATUS": 0x014,
    "ERROR_CODE": 0x018,
    "ERROR_PC": 0x01C,
    "INTERRUPT_ENABLE": 0x020,
    "WATCHDOG": 0x024,
    "LIVE_TOKENS": 0x028,
}
"""Byte addresses; `spec.meanings` says what each register holds."""

_WINDOWS_AT = 0x040
_COUNTERS_AT = 0x100


def window_address(window: Window) -> tuple[int, int]:
    """Byte addresses of a window's (base, limit) registers; the limit is in bytes."""
    return _WINDOWS_AT + 8 * window.value, _WINDOWS_AT + 8 * window.value + 4


def counter_address(name: str) -> int:
    """Byte address of the low word of a counter."""
    return _COUNTERS_AT + 8 * COUNTERS.index(name)
