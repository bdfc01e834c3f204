"""What a program writes: per instruction the writes into each memory, and the tensors they make.

The machine makes these records; a simulation of the RTL reads the same ones from its trace port.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.errors import GoldenError
from spec.image import Image, TensorMap, TensorPart

__all__ = ["Writes", "assemble_tensors"]


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

    Raises `GoldenError` when an instruction made other than the expected number of writes.
    """
    return {name: _assemble(name, entry, writes) for name, entry in image.tensors.items()}


def _assemble(name: str, entry: TensorMap, writes: Mapping[int, Writes]) -> NDArray[Any]:
    tensor = np.zeros(entry.shape, entry.dtype)
    planes = tensor.reshape((-1, *tensor.shape[-2:]) if tensor.ndim > 1 else (1, 1, -1))
    for part in entry.parts:
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
    needed = (part.skip + part.rows) * part.words
    if len(values) < needed:
        raise GoldenError(
            f"{name}: instruction {part.pc} made {len(values)} writes into {part.memory} memory, "
            f"needs {needed}"
        )
    return values[:needed].reshape(part.skip + part.rows, -1)
