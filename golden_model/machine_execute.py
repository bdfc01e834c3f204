"""What each instruction does to the memories, by the functions of `golden_model.units`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.machine_attention import attention
from golden_model.machine_groups import execute_in_groups
from golden_model.machine_lists import place_rows
from golden_model.machine_memory import MachineError, Memories
from golden_model.machine_select import select
from golden_model.machine_writes import clear, no_writes, write_rows, write_tokens
from golden_model.trace import Writes
from golden_model.units.gelu import gelu_activation
from golden_model.units.layer_norm import normalize as normalize_rows
from golden_model.units.layer_norm import row_statistics
from golden_model.units.matmul import matmul_exact
from golden_model.units.requantize import requantize
from golden_model.units.residual_add import residual_add
from spec.assembler import Instruction, resolve_rows, transfer_rows
from spec.assembler import rows as fixed_rows
from spec.config import Config
from spec.formats import ACC, ACT, REQUANTIZE, RESIDUAL
from spec.isa import PARTIAL_WORDS, Activation, Destination, Opcode, ScoreUse, Window
from spec.registers import Error

__all__ = ["execute", "no_writes"]

Fields = Mapping[str, Any]


def execute(memory: Memories, instruction: Instruction, rows: int = 0) -> Writes:
    """Execute one instruction; `MachineError` when an operand or address makes no sense.

    rows : of an instruction with a row limit (which then are not 0)
    """
    single = instruction.token_wait is not None and instruction.opcode in NO_TOKEN_WAIT
    if single or (instruction.token_signal is not None and instruction.opcode in NO_TOKEN_SIGNAL):
        raise MachineError("a credit a row, of an instruction without rows", Error.OPERAND)
    if instruction.opcode == Opcode.HEAD_SCALES:
        memory.head_scales = instruction.fields
        return no_writes(memory)
    if instruction.fields.get("scores") == ScoreUse.SET:
        memory.scores[:] = 0
    if instruction.row_limit:
        field = next(name for name in ("rows", "queries") if name in instruction.fields)
        fields = {**instruction.fields, field: fixed_rows(rows)}
        instruction = replace(instruction, fields=fields)
    return execute_in_groups(EXECUTE[instruction.opcode], memory, instruction)


def _load_weights(memory: Memories, f: Fields) -> Writes:
    config = memory.config
    if f["live_above"] and memory.live <= f["live_above"]:
        return no_writes(memory)
    if not f["depth"]:
        raise MachineError("depth is 0", Error.OPERAND)
    memory.check_table(f["table"], 1, config.column_tables, "column")
    address = memory.row_addresses(f["row"], 1, f["depth"])
    table_bytes = config.lanes * REQUANTIZE.entry_bytes
    size = table_bytes + f["depth"] * config.lanes
    content = memory.window[Window.WEIGHTS][memory.dram(Window.WEIGHTS, f["offset"], size)]
    memory.column_table[f["table"]] = memory.entries(content[:table_bytes], signed=False)
    write_rows(memory, address, content[table_bytes:].reshape(-1, config.lanes))
    return no_writes(memory)


def _transfer_bytes(memory: Memories, f: Fields) -> int:
    if not f["rows"] or not f["words"]:
        raise MachineError(f"{f['rows']} rows of {f['words']} words", Error.OPERAND)
    return f["rows"] * f["words"] * memory.config.lanes


def _load_tokens(memory: Memories, f: Fields) -> Writes:
    f = {**f, "rows": transfer_rows(f, memory.live)}
    if f["live"] and not f["rows"]:
        return no_writes(memory)
    span = memory.dram(f["window"], f["offset"], _transfer_bytes(memory, f))
    address = memory.token_addresses(f["token"], f["stride"], f["rows"], f["words"])
    return write_tokens(memory, address, memory.window[f["window"]][span])


def _load_norm(memory: Memories, f: Fields) -> Writes:
    lanes, channels = memory.config.lanes, f["channels"]
    if channels < 1 or channels % lanes:
        raise MachineError(f"{channels} LayerNorm channels, not whole words", Error.OPERAND)
    first = f["table"] * lanes
    memory.check_table(first, channels, len(memory.norm_table), "LayerNorm")
    span = memory.dram(Window.WEIGHTS, f["offset"], channels * REQUANTIZE.entry_bytes)
    memory.norm_table[first : first + channels] = memory.entries(
        memory.window[Window.WEIGHTS][span], signed=True
    )
    return no_writes(memory)


def _fully_connected(memory: Memories, f: Fields) -> Writes:
    config = memory.config
    lanes, depth = config.lanes, f["depth"]
    rows = resolve_rows(f["rows"], memory.live)
    source = memory.tokens(f["source"], f["source_stride"], rows, -(-depth // lanes))
    scalars = source.view(np.int8)[:, :depth].astype(np.int16) - f["zero_point"]
    if memory.sieve["skip_zeros"]:
        memory.work.nonzeros = _by_banks(config, scalars)
    weight = memory.matrix(f["row"], 1, depth)
    memory.check_table(f["table"], 1, config.column_tables, "column")
    addend, multiplier, shift = memory.column_table[f["table"]].T
    acc = matmul_exact(scalars, weight)
    if f["accumulate"]:
        acc = acc + memory.partial_sums(f["partial"], 1 if f["broadcast"] else rows)
        if acc.min() < ACC.low or acc.max() > ACC.high:
            raise MachineError("the sums leave 32 bits", Error.OPERAND)

    def scaled(low: int, high: int) -> NDArray[np.int64]:
        out = requantize(acc, addend, multiplier, shift, low, high)
        return clear(memory, out, memory.sieve["threshold"])

    if f["destination"] == Destination.PARTIAL:
        words = PARTIAL_WORDS
        address = memory.token_addresses(f["target"], f["target_stride"], rows, words)
        return write_tokens(memory, address, memory.halves(acc.astype(np.int64)))
    if f["destination"] in (Destination.RESIDUAL, Destination.WIDE):
        address = memory.token_addresses(f["target"], f["target_stride"], rows, 2)
        out = scaled(RESIDUAL.low, RESIDUAL.high)
        if f["destination"] == Destination.RESIDUAL:
            before = memory.tokens(f["target"], f["target_stride"], rows, 2).view("<i2")
            out = residual_add(before, out)
        return write_tokens(memory, address, out.astype("<i2"))
    if f["activation"] == Activation.GELU:
        out = gelu_activation(
            scaled(RESIDUAL.low, RESIDUAL.high),
            f["activation_multiplier"],
            f["activation_shift"],
            f["activation_zero_point"],
        )
    else:
        out = scaled(0 if f["activation"] == Activation.RELU else ACT.low, ACT.high)
    out = out.astype(np.int8)
    if f["destination"] == Destination.ROWS and memory.sieve["placed"]:
        bank, group = place_rows(memory, rows)
        memory.work.place_banks = bank
        address = f["target"] + group * f["target_stride"]
        if address.max() >= config.row_words:
            raise MachineError(f"row word {address.max()} is not there", Error.ROW_ADDRESS)
        return write_rows(memory, address, out, bank)
    if f["destination"] == Destination.ROWS:
        return write_rows(memory, memory.row_addresses(f["target"], f["target_stride"], rows), out)
    return write_tokens(
        memory, memory.token_addresses(f["target"], f["target_stride"], rows, 1), out
    )


def _by_banks(config: Config, scalars: NDArray[np.int16]) -> NDArray[np.uint8]:
    """How many scalars of each word and bank are not 0: uint8 [rows, words, banks]."""
    rows, depth = scalars.shape
    padded = np.pad(scalars, ((0, 0), (0, -depth % config.lanes))) != 0
    return padded.reshape(rows, -1, config.lanes // config.banks, config.banks).sum(
        axis=2, dtype=np.uint8
    )


def _sieve(memory: Memories, f: Fields) -> Writes:
    memory.sieve = f
    if f["forget"]:
        memory.present[:] = False
    return no_writes(memory)


def _normalize(memory: Memories, f: Fields) -> Writes:
    lanes, channels = memory.config.lanes, f["channels"]
    rows = resolve_rows(f["rows"], memory.live)
    words = -(-channels // lanes)
    source = memory.tokens(f["source"], f["source_stride"], rows, 2 * words)
    x = source.view("<i2")[:, :channels].astype(np.int64)
    address = memory.token_addresses(f["target"], f["target_stride"], rows, words)
    first = f["table"] * lanes
    memory.check_table(first, words * lanes, len(memory.norm_table), "LayerNorm")
    offset, gain, shift = memory.norm_table[first : first + channels].T
    total = x.sum(axis=1)
    half, rcp = row_statistics(total, (x * x).sum(axis=1), channels, f["epsilon"])
    y = normalize_rows(x, total, half, rcp, f["fraction_bits"])
    out = np.zeros((rows, words * lanes), np.int8)
    rounding = (np.int64(1) << shift) >> 1
    out[:, :channels] = np.clip((y * gain + offset + rounding) >> shift, ACT.low, ACT.high)
    return write_tokens(memory, address, out)


def _live(memory: Memories, f: Fields) -> Writes:
    memory.live, memory.packages = f["tokens"], 0
    memory.first_tokens, memory.origin = f["tokens"], np.arange(memory.config.max_tokens)
    return no_writes(memory)


def _select(memory: Memories, f: Fields) -> Writes:
    address, content = select(memory, f)
    if not len(address):
        return no_writes(memory)
    if memory.config.head_groups > 1:
        order = np.argsort(address, kind="stable")
        address, content = address[order], content[order]
    return write_tokens(memory, address, content)


def _store_tokens(memory: Memories, f: Fields) -> Writes:
    f = {**f, "rows": transfer_rows(f, memory.live)}
    if f["live"] and not f["rows"]:
        return no_writes(memory)
    span = memory.dram(f["window"], f["offset"], _transfer_bytes(memory, f), write=True)
    content = memory.tokens(f["token"], f["stride"], f["rows"], f["words"]).reshape(-1)
    memory.window[f["window"]][span] = content
    return no_writes(memory)


NO_TOKEN_WAIT = {
    Opcode.LOAD_WEIGHTS,
    Opcode.LOAD_TOKENS,
    Opcode.LOAD_NORM,
    Opcode.STORE_TOKENS,
}
NO_TOKEN_SIGNAL = NO_TOKEN_WAIT - {Opcode.LOAD_TOKENS}
EXECUTE: dict[Opcode, Callable[[Memories, Fields], Writes]] = {
    Opcode.LOAD_WEIGHTS: _load_weights,
    Opcode.LOAD_TOKENS: _load_tokens,
    Opcode.LOAD_NORM: _load_norm,
    Opcode.FULLY_CONNECTED: _fully_connected,
    Opcode.ATTENTION: attention,
    Opcode.NORMALIZE: _normalize,
    Opcode.LIVE: _live,
    Opcode.SELECT: _select,
    Opcode.SIEVE: _sieve,
    Opcode.STORE_TOKENS: _store_tokens,
}
