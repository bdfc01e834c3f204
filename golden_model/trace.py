"""What a program writes: per instruction the writes into each memory, and the tensors they make.

The machine makes these records; a simulation of the RTL reads the same ones from its trace port.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.errors import GoldenError
from spec.assembler import decode
from spec.efforts import tensor_prefix
from spec.image import Image, TensorPart
from spec.isa import Opcode, program_parts

__all__ = ["Writes", "assemble_tensors", "live_counts"]

_LIVE, _SELECT, _NORMALIZE = (op.value for op in (Opcode.LIVE, Opcode.SELECT, Opcode.NORMALIZE))


@dataclass(frozen=True, kw_only=True)
class Writes:
    """All results that one instruction wrote, each memory's in the order of the hardware.

    Token memory: also what LOAD_TOKENS brings. Row memory: not what LOAD_WEIGHTS brings.

    Order: row by row, within a row word by word; an int16 pair low word first; attention's scores
    and probabilities by query row and then key group.
    """

    token_address: NDArray[np.int64]
    """[n], words"""
    token_data: NDArray[np.uint8]
    """[n, lanes]; 0 where the mask is"""
    token_mask: NDArray[np.bool_]
    """[n, lanes]"""
    row_bank: NDArray[np.int64]
    """[n]"""
    row_address: NDArray[np.int64]
    """[n], words of a bank"""
    row_data: NDArray[np.uint8]
    """[n, lanes]"""
    scores: NDArray[np.int16]
    """LOGIT [n, banks]; 0 where there is no key"""
    score_valid: NDArray[np.bool_]
    """[n, banks]"""
    probs: NDArray[np.uint8]
    """PROB [n, banks]; 0 where there is no key"""

    @classmethod
    def empty(cls, banks: int, lanes: int) -> "Writes":
        """No writes."""
        return cls(
            token_address=np.zeros(0, np.int64),
            token_data=np.zeros((0, lanes), np.uint8),
            token_mask=np.zeros((0, lanes), np.bool_),
            row_bank=np.zeros(0, np.int64),
            row_address=np.zeros(0, np.int64),
            row_data=np.zeros((0, lanes), np.uint8),
            scores=np.zeros((0, banks), np.int16),
            score_valid=np.zeros((0, banks), np.bool_),
            probs=np.zeros((0, banks), np.uint8),
        )

    def values(self, memory: str, bits: int) -> NDArray[Any]:
        """The data written into `token`, `row`, `score` or `prob`, one row of values a write."""
        if memory == "score":
            return self.scores
        if memory == "prob":
            return self.probs
        data = self.token_data if memory == "token" else self.row_data
        return np.ascontiguousarray(data).view("<i2" if bits == 16 else np.int8)


def assemble_tensors(image: Image, writes: Mapping[int, Writes]) -> dict[str, NDArray[Any]]:
    """Every intermediate tensor, put together from the writes of a run.

    Tensors of efforts that were not taken are left out.
    Raises `GoldenError` when an instruction made other than the expected number of writes.
    """
    tensors, parts = {}, len(program_parts(image.program[:, 0]))
    for number, live in enumerate(live_counts(image, writes)):
        prefix = tensor_prefix(number, parts)
        for name, entry in image.tensors.items():
            if name.startswith(prefix):
                tensors[name] = _assemble(image, name, live[0] - live[entry.stages], writes)
    return tensors


def live_counts(image: Image, writes: Mapping[int, Writes]) -> list[tuple[int, ...]]:
    """For each effort that was taken, live tokens at the start and behind each selection."""
    parts = program_parts(image.program[:, 0])
    last = max(writes, default=0)
    return [_live_counts(image, part, writes) for part in parts if part.start <= last]


def _live_counts(image: Image, part: range, writes: Mapping[int, Writes]) -> tuple[int, ...]:
    """Of one part of a program; behind a selection the rows of the LayerNorm behind it.

    In tiles that is several instructions of one name. SELECT itself does not write the rows that
    stay where they are.
    """
    counts: list[int] = []
    selected, norm = False, ""
    opcodes = image.program[part.start : part.stop, 0]
    own = np.flatnonzero(np.isin(opcodes, (_LIVE, _SELECT, _NORMALIZE))) + part.start
    for pc in own.tolist():
        fields = decode(image.program[pc].tobytes()).fields
        if image.program[pc, 0] == _LIVE:
            counts.append(fields["tokens"])
        elif image.program[pc, 0] == _SELECT:
            selected = True
        elif selected or image.names[pc] == norm:
            if selected and pc not in writes:
                raise GoldenError(f"instruction {pc} (NORMALIZE) wrote nothing")
            if selected:
                counts.append(0)
            selected, norm = False, image.names[pc]
            if pc in writes:
                lanes = writes[pc].token_data.shape[1]
                rows = len(writes[pc].token_address) // -(-fields["channels"] // lanes)
                counts[-1] = min(counts[-1] + rows, counts[0])
    return tuple(counts)


def _assemble(image: Image, name: str, dropped: int, writes: Mapping[int, Writes]) -> NDArray[Any]:
    entry = image.tensors[name]
    tensor = np.zeros(entry.shape_of(dropped), entry.dtype)
    planes = tensor.reshape((-1, *tensor.shape[-2:]) if tensor.ndim > 1 else (1, 1, -1))
    _, height, width = planes.shape
    for part in entry.parts:
        part = replace(
            part,
            rows=min(part.rows, height - part.row),
            count=min(part.count, width - part.channel),
            skip=part.skip + part.group * height,
        )
        if part.rows <= 0:
            continue
        if part.memory == "moved":
            if part.pc in writes:
                _move(image, part, writes[part.pc], planes[0])
            continue
        rows = _rows(name, part, writes)
        planes[
            max(part.plane, 0),
            part.row : part.row + part.rows,
            part.channel : part.channel + part.count,
        ] = rows[part.skip : part.skip + part.rows, part.lane : part.lane + part.count]
    return tensor


def _rows(name: str, part: TensorPart, writes: Mapping[int, Writes]) -> NDArray[Any]:
    if part.pc not in writes:
        raise GoldenError(f"{name}: instruction {part.pc} wrote nothing")
    values = writes[part.pc].values(part.memory, part.bits)
    words = part.words
    if part.memory in ("score", "prob"):
        words = -(-part.count // values.shape[1])
    needed = (part.skip + part.rows) * words
    if len(values) < needed:
        raise GoldenError(
            f"{name}: instruction {part.pc} made {len(values)} writes into {part.memory} memory, "
            f"needs {needed}"
        )
    return values[:needed].reshape(part.skip + part.rows, -1)


def _move(image: Image, part: TensorPart, writes: Writes, tensor: NDArray[Any]) -> None:
    """Put the words that a SELECT wrote over the rows as they were before it."""
    f = decode(image.program[part.pc].tobytes()).fields
    row, word = np.divmod(writes.token_address - f["source"], f["stride"])
    values = writes.values("token", part.bits)
    size = values.shape[1]
    for at in np.flatnonzero((row >= 0) & (row < len(tensor)) & (word < part.words)):
        first = part.channel + word[at] * size
        channels = tensor[row[at], first : first + size]
        channels[:] = values[at, : len(channels)]
