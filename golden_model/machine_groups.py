"""Several head groups: one instruction at work in each of them, side by side."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from golden_model.machine_memory import Memories
from golden_model.trace import Writes
from spec.assembler import Instruction, resolve_rows
from spec.formats import REQUANTIZE
from spec.isa import HEAD_SCALE, PARTIAL_WORDS, Destination, Opcode

__all__ = ["execute_in_groups", "groups_of"]

Fields = Mapping[str, Any]


def groups_of(instruction: Instruction, lanes: int) -> int:
    """Head groups that take part in an instruction."""
    if instruction.opcode == Opcode.FULLY_CONNECTED:
        return -(-instruction.fields["columns"] // lanes)
    return 1 + instruction.fields.get("further_groups", 0)


def execute_in_groups(
    one: Callable[[Memories, Fields], Writes], memory: Memories, instruction: Instruction
) -> Writes:
    """Execute an instruction in all its groups; token writes are put in order of address.

    one : what the instruction does in a machine of one group
    Row memory, scores and probabilities: group after group.
    """
    count = groups_of(instruction, memory.config.lanes)
    if count == 1:
        return one(memory, instruction.fields)
    parts = [
        one(memory.group(group), _fields_of(memory, instruction, group)) for group in range(count)
    ]
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Writes.__dataclass_fields__
    }
    order = np.argsort(joined["token_address"], kind="stable")
    for name in ("token_address", "token_data", "token_mask"):
        joined[name] = joined[name][order]
    return replace(parts[0], **joined)


def _fields_of(memory: Memories, instruction: Instruction, group: int) -> Fields:
    """An instruction's fields as one group sees them."""
    f, config = dict(instruction.fields), memory.config
    if instruction.opcode == Opcode.LOAD_WEIGHTS:
        f["offset"] += group * config.lanes * (REQUANTIZE.entry_bytes + f["depth"])
    elif instruction.opcode == Opcode.FULLY_CONNECTED:
        sums = group * PARTIAL_WORDS * resolve_rows(f["rows"], memory.live)
        f["partial"] += group * PARTIAL_WORDS if f["broadcast"] else sums
        if f["destination"] == Destination.PARTIAL:
            f["target"] += sums
        elif f["destination"] != Destination.ROWS:
            f["target"] += group * f["group_words"]
    elif instruction.opcode == Opcode.ATTENTION:
        f["query"] += group * f["head_words"]
        f["target"] += group * f["head_words"]
        if group:
            f |= {name: memory.head_scales[f"{name}_{group}"] for name in HEAD_SCALE}
    return f
