"""Traces of the machine: the writes of every instruction, and the tensors they make up."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.errors import SimulationError
from spec.image import Image, TensorMap

__all__ = ["MEMORIES", "Difference", "Trace", "Writes", "compare", "read_traces"]

MEMORIES = {"T": "token", "R": "row", "S": "score", "P": "prob"}
"""Tag of a trace line -> the memory that was written."""
_FIELDS = {
    "token": ("pc", "address", "mask", "data"),
    "row": ("pc", "bank", "address", "data"),
    "score": ("pc", "mask", "data"),
    "prob": ("pc", "data"),
}
_CHUNK = 65536
_DIGIT = np.full(256, 255, np.uint8)
for _character, _value in zip(b"0123456789abcdef", range(16), strict=True):
    _DIGIT[_character] = _value


@dataclass(frozen=True, kw_only=True)
class Writes:
    """Writes into one memory, in order.

    pc, address, bank : int64 [writes]; bank is 0 but in row memory, address is 0 in the rings
    mask : bool [writes, elements]: a lane of token memory, a score; else all are written
    data : uint8 [writes, bytes], lane 0 first, 0 where the mask is off
    """

    pc: NDArray[np.int64]
    address: NDArray[np.int64]
    bank: NDArray[np.int64]
    mask: NDArray[np.bool_]
    data: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pc)

    def take(self, index: NDArray[np.int64] | slice) -> "Writes":
        """Some of the writes."""
        return Writes(**{name: getattr(self, name)[index] for name in self.__dataclass_fields__})


class Trace:
    """All writes of one run. `writes[memory]` holds them in order."""

    def __init__(self, writes: Mapping[str, Writes]) -> None:
        self.writes = dict(writes)
        self._sorted: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        for memory, entry in self.writes.items():
            order = np.argsort(entry.pc, kind="stable")
            self._sorted[memory] = (order, entry.pc[order])

    def of(self, pc: int, memory: str) -> Writes | None:
        """Writes of instruction `pc` into a memory, in order; None if it has none at all."""
        if memory not in self.writes:
            return None
        order, pcs = self._sorted[memory]
        low, high = np.searchsorted(pcs, [pc, pc + 1])
        return self.writes[memory].take(order[low:high])

    def tensor(self, name: str, entry: TensorMap) -> NDArray[np.generic]:
        """Put a tensor of the image together; elements that were never written raise."""
        out = np.zeros(entry.shape, entry.dtype)
        seen = np.zeros(entry.shape, np.bool_)
        for part in entry.parts:
            writes = self.of(part.pc, part.memory)
            kind = np.dtype({8: "i1", 16: "<i2"}[part.bits])
            if part.bits == 8 and entry.dtype == "uint8":
                kind = np.dtype("u1")
            last = part.skip + part.rows
            count = 0 if writes is None else len(writes)
            if writes is None or count < last * part.words:
                raise SimulationError(
                    f"{name}: instruction {part.pc} made {count} writes into {part.memory} memory, "
                    f"{last * part.words} are expected"
                )
            rows = writes.data[part.skip * part.words : last * part.words]
            values = np.ascontiguousarray(rows).reshape(part.rows, -1).view(kind)
            where = (
                *((part.plane,) if part.plane >= 0 else ()),
                slice(part.row, part.row + part.rows),
                slice(part.channel, part.channel + part.count),
            )
            out[where] = values[:, part.lane : part.lane + part.count]
            seen[where] = True
        if not seen.all():
            raise SimulationError(
                f"{name}: {int((~seen).sum())} elements have no part in the image"
            )
        return out

    def tensors(self, image: Image) -> dict[str, NDArray[np.generic]]:
        """Every intermediate tensor of the image, in the order of the network."""
        return {name: self.tensor(name, entry) for name, entry in image.tensors.items()}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How a tensor differs: `differing` of `elements`, and the first place."""

    tensor: str
    elements: int
    differing: int
    index: tuple[int, ...] = ()
    got: int = 0
    expected: int = 0

    def __str__(self) -> str:
        if not self.differing:
            return f"{self.tensor}: {self.elements} elements agree"
        return (
            f"{self.tensor}: {self.differing} of {self.elements} elements differ, first at "
            f"{list(self.index)}: got {self.got}, expected {self.expected}"
        )


def compare(
    got: Mapping[str, NDArray[np.generic]], expected: Mapping[str, NDArray[np.generic]]
) -> list[Difference]:
    """Compare tensors by name, in the order of `expected`; a missing one differs everywhere.

    A tensor of `got` that `expected` has not is an error: nothing may go unchecked.
    """
    unknown = [name for name in got if name not in expected]
    if unknown:
        raise SimulationError(f"no expected values for tensor {', '.join(unknown)}")
    result = []
    for name, right in expected.items():
        right = np.asarray(right)
        left = got.get(name)
        if left is None:
            result.append(Difference(tensor=name, elements=right.size, differing=right.size))
            continue
        if left.shape != right.shape:
            raise SimulationError(f"{name}: shape {left.shape}, expected {right.shape}")
        places = np.argwhere(left.astype(np.int64) != right.astype(np.int64))
        first = tuple(int(i) for i in places[0]) if len(places) else ()
        result.append(
            Difference(
                tensor=name,
                elements=right.size,
                differing=len(places),
                index=first,
                got=int(left[first]) if first else 0,
                expected=int(right[first]) if first else 0,
            )
        )
    return result


def read_traces(path: Path, runs: int) -> list[Trace]:
    """Parse a trace file of the harness; one trace for each of `runs` images."""
    text = np.fromfile(path, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)[: len(ends)]
    tags = text[starts]
    image = np.cumsum(tags == ord("I"))
    parts: list[dict[str, Writes]] = [{} for _ in range(runs)]
    for tag, memory in MEMORIES.items():
        index = np.flatnonzero(tags == ord(tag))
        if not len(index):
            continue
        lengths = ends[index] - starts[index]
        if (lengths != lengths[0]).any():
            raise SimulationError(f"{path.name}: lines of tag {tag} differ in length")
        line = bytes(text[starts[index[0]] : ends[index[0]]])
        writes = _parse(text, starts[index], line, memory)
        for run in range(runs):
            chosen = image[index] == run + 1
            if chosen.any():
                parts[run][memory] = writes.take(np.flatnonzero(chosen))
    return [Trace(part) for part in parts]


def _parse(text: NDArray[np.uint8], starts: NDArray[np.int64], line: bytes, memory: str) -> Writes:
    """Decode lines of one tag; all have the fields of `line` at the same places."""
    places: dict[str, tuple[int, int]] = {}
    at = 2
    for name, field in zip(_FIELDS[memory], line.split()[1:], strict=True):
        places[name] = (at, at + len(field))
        at += len(field) + 1
    columns: dict[str, list[NDArray]] = {name: [] for name in places}
    undefined = []
    for low in range(0, len(starts), _CHUNK):
        chunk = _DIGIT[text[starts[low : low + _CHUNK, None] + np.arange(len(line))]]
        for name, (first, last) in places.items():
            digits = chunk[:, first:last]
            bad = digits > 15
            if name == "data":
                undefined.append((bad[:, 0::2] | bad[:, 1::2])[:, ::-1])
                digits = np.where(bad, 0, digits)
                columns[name].append((digits[:, 0::2] << 4 | digits[:, 1::2])[:, ::-1])
                continue
            if bad.any():
                raise SimulationError(f"{name} of a write into {memory} memory is undefined")
            if name == "mask":
                bits = np.unpackbits(digits[:, ::-1, None], axis=2, count=8)[:, :, :3:-1]
                columns[name].append(bits.reshape(len(bits), -1).astype(np.bool_))
            else:
                weights = 16 ** np.arange(last - first - 1, -1, -1, dtype=np.int64)
                columns[name].append(digits.astype(np.int64) @ weights)
    fields = {name: np.concatenate(column) for name, column in columns.items()}
    return _writes(fields, np.concatenate(undefined), memory)


def _writes(fields: dict[str, NDArray], undefined: NDArray[np.bool_], memory: str) -> Writes:
    data, pc = fields["data"], fields["pc"]
    element_bytes = 2 if memory == "score" else 1
    elements = data.shape[1] // element_bytes
    zeros = np.zeros(len(pc), np.int64)
    mask = fields.get("mask", np.ones((len(pc), elements), np.bool_))[:, :elements]
    covered = np.repeat(mask, element_bytes, axis=1)
    wrong = (undefined & covered).any(axis=1)
    if wrong.any():
        raise SimulationError(
            f"instruction {pc[wrong][0]} wrote undefined bits into {memory} memory"
        )
    return Writes(
        pc=pc,
        address=fields.get("address", zeros),
        bank=fields.get("bank", zeros),
        mask=mask,
        data=np.where(covered, data, 0).astype(np.uint8),
    )
