"""Traces of the machine: the writes of every instruction, read from the harness's trace file.

They come in the form of the golden machine's (`golden_model.trace.Writes`), so tensors are put
together and compared the same way on both sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.trace import Writes
from sim.errors import SimulationError
from spec.image import Image
from spec.isa import Opcode

__all__ = ["Difference", "RunTrace", "compare_tensors", "compare_writes", "read_traces"]

_LINES = {
    "T": ("token", ("cycle", "pc", "address", "mask", "data")),
    "R": ("row", ("cycle", "pc", "group", "bank", "address", "data")),
    "S": ("score", ("cycle", "pc", "group", "mask", "data")),
    "P": ("prob", ("cycle", "pc", "group", "data")),
}
"""Tag of a trace line -> the memory that was written, and the line's fields."""
_CHUNK = 65536
_DIGIT = np.full(256, 255, np.uint8)
for _character, _value in zip(b"0123456789abcdef", range(16), strict=True):
    _DIGIT[_character] = _value


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How a tensor differs: `differing` of `elements`, and the first place.

    With other numbers of rows (or columns), what only one of the two has differs.
    """

    tensor: str
    elements: int
    differing: int
    index: tuple[int, ...] = ()
    got: int = 0
    expected: int = 0
    sizes: str = ""
    """Both shapes, if they are not the same."""

    def __str__(self) -> str:
        """One line: tensor, how many, and where first."""
        if not self.differing:
            return f"{self.tensor}: {self.elements} elements agree"
        if self.sizes:
            return f"{self.tensor}: {self.differing} elements differ, {self.sizes}"
        return (
            f"{self.tensor}: {self.differing} of {self.elements} elements differ, first at "
            f"{list(self.index)}: got {self.got}, expected {self.expected}"
        )


def compare_tensors(
    got: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]
) -> list[Difference]:
    """Compare tensors by name, in the order of `expected`; a missing one differs everywhere.

    So does a tensor of an effort that only `got` took. Any other that `expected` has not is an
    error: nothing may go unchecked.
    """
    unknown = [name for name in got if name not in expected]
    others = [name for name in unknown if not name.startswith("efforts.")]
    if others:
        raise SimulationError(f"no expected values for tensor {', '.join(others)}")
    result = []
    for name, right in expected.items():
        if name in got:
            result.append(_difference(name, got[name], right))
        else:
            result.append(Difference(tensor=name, elements=right.size, differing=right.size))
    for name in unknown:
        size = got[name].size
        result.append(Difference(tensor=name, elements=size, differing=size))
    return result


def _difference(name: str, got: NDArray[Any], expected: NDArray[Any]) -> Difference:
    if got.shape != expected.shape:
        sizes = f"shape {list(got.shape)}, expected {list(expected.shape)}"
        if got.ndim != expected.ndim:
            raise SimulationError(f"{name}: {sizes}")
        common = tuple(map(slice, np.minimum(got.shape, expected.shape)))
        equal = int((got[common] == expected[common]).sum())
        differing = got.size + expected.size - expected[common].size - equal
        return Difference(tensor=name, elements=expected.size, differing=differing, sizes=sizes)
    places = np.argwhere(got.astype(np.int64) != expected.astype(np.int64))
    first = tuple(int(i) for i in places[0]) if len(places) else None
    return Difference(
        tensor=name,
        elements=expected.size,
        differing=len(places),
        index=first or (),
        got=0 if first is None else int(got[first]),
        expected=0 if first is None else int(expected[first]),
    )


def compare_writes(
    got: Mapping[int, Writes], expected: Mapping[int, Writes], image: Image
) -> list[str]:
    """Compare every write of every instruction: address, mask, data and order.

    Weight rows that LOAD_WEIGHTS copies are left out: the machine does not trace them.
    Returns one line for each field that differs; an empty list means that all agree.
    """
    names = image.names
    lines = []
    for pc in sorted(set(got) | set(expected)):
        title = f"pc {pc} ({names[pc] if pc < len(names) else 'beyond the program'})"
        load = pc < len(names) and image.program[pc, 0] == Opcode.LOAD_WEIGHTS.value
        for member in fields(Writes):
            if load and member.name.startswith("row_"):
                continue
            sides = [
                getattr(side[pc], member.name) if pc in side else None for side in (got, expected)
            ]
            left, right = (_none_as_empty(one, other) for one, other in (sides, sides[::-1]))
            if left.shape != right.shape:
                lines.append(
                    f"{title}: {member.name}: {len(left)} writes, expected {len(right)} "
                    f"(shapes {list(left.shape)}, {list(right.shape)})"
                )
            elif (left != right).any():
                lines.append(f"{title}: {_difference(member.name, left, right)}")
    return lines


def _none_as_empty(one: NDArray[Any] | None, other: NDArray[Any] | None) -> NDArray[Any]:
    if one is not None:
        return one
    assert other is not None
    return other[:0]


@dataclass(frozen=True, kw_only=True)
class RunTrace:
    """The trace of one image."""

    writes: dict[int, Writes]
    """By program counter."""
    last_write: dict[int, int]
    """Cycle of each instruction's last traced write, from the start of the image."""


def read_traces(
    path: Path, runs: int, banks: int, lanes: int, in_groups: bool = False
) -> list[RunTrace]:
    """Parse a trace file of the harness: one trace for each of `runs` images.

    in_groups : there are several head groups: put the writes of an instruction in the golden
        machine's order: those into token memory by address, the others group after group
    """
    text = np.fromfile(path, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)[: len(ends)]
    tags = text[starts]
    image = np.cumsum(tags == ord("I"))
    begins = [int(bytes(text[at + 2 : at + 10]), 16) for at in starts[tags == ord("I")]]
    parts: list[dict[int, dict[str, Any]]] = [{} for _ in range(runs)]
    last: list[dict[int, int]] = [{} for _ in range(runs)]
    for tag, (memory, names) in _LINES.items():
        index = np.flatnonzero(tags == ord(tag))
        if not len(index):
            continue
        lengths = ends[index] - starts[index]
        if (lengths != lengths[0]).any():
            raise SimulationError(f"{path.name}: lines of tag {tag} differ in length")
        line = bytes(text[starts[index[0]] : ends[index[0]]])
        pc, cycle, within, columns = _parse(text, starts[index], line, memory, names, banks)
        key = image[index] << 16 | pc
        order = np.lexsort((within, key)) if in_groups else np.argsort(key, kind="stable")
        bounds = np.flatnonzero(np.diff(key[order])) + 1
        for chosen in np.split(order, bounds):
            run = int(image[index[chosen[0]]]) - 1
            if not 0 <= run < runs:
                raise SimulationError(
                    f"{path.name}: instruction {pc[chosen[0]]} wrote between runs"
                )
            entry = parts[run].setdefault(int(pc[chosen[0]]), {})
            entry |= {name: column[chosen] for name, column in columns.items()}
            end = int(cycle[chosen].max()) - begins[run]
            last[run][int(pc[chosen[0]])] = max(end, last[run].get(int(pc[chosen[0]]), 0))
    empty = Writes.empty(banks, lanes)
    blank = {member.name: getattr(empty, member.name) for member in fields(Writes)}
    return [
        RunTrace(
            writes={pc: Writes(**(blank | entry)) for pc, entry in sorted(part.items())},
            last_write=ends,
        )
        for part, ends in zip(parts, last, strict=True)
    ]


def _parse(
    text: NDArray[np.uint8],
    starts: NDArray[np.int64],
    line: bytes,
    memory: str,
    names: tuple[str, ...],
    banks: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Decode lines of one tag (fields where `line` has them): pc, cycle, order, and columns.

    Order: that of writes of several head groups by one instruction.
    """
    places: dict[str, tuple[int, int]] = {}
    at = 2
    for name, digits in zip(names, line.split()[1:], strict=True):
        places[name] = (at, at + len(digits))
        at += len(digits) + 1
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in (*places, "bad")}
    for low in range(0, len(starts), _CHUNK):
        chunk = _DIGIT[text[starts[low : low + _CHUNK, None] + np.arange(len(line))]]
        for name, (first, last) in places.items():
            digits = chunk[:, first:last]
            bad = digits > 15
            if name == "data":
                columns["bad"].append((bad[:, 0::2] | bad[:, 1::2])[:, ::-1])
                digits = np.where(bad, 0, digits).astype(np.uint8)
                columns[name].append((digits[:, 0::2] << 4 | digits[:, 1::2])[:, ::-1])
            elif bad.any():
                raise SimulationError(f"a write into {memory} memory has an undefined {name}")
            elif name == "mask":
                bits = digits[:, ::-1, None] >> np.arange(4, dtype=np.uint8) & 1
                columns[name].append(bits.reshape(len(bits), -1).astype(np.bool_))
            else:
                weights = 16 ** np.arange(last - first - 1, -1, -1, dtype=np.int64)
                columns[name].append(digits.astype(np.int64) @ weights)
    decoded = {name: np.concatenate(column) for name, column in columns.items()}
    order = decoded["address" if memory == "token" else "group"]
    return decoded["pc"], decoded["cycle"], order, _columns(decoded, memory, banks)


def _columns(decoded: dict[str, NDArray[Any]], memory: str, banks: int) -> dict[str, NDArray[Any]]:
    """Fields of `Writes`; undefined bits are an error where the mask covers them, else 0.

    Row memory's bank `banks` stands for all banks: -1, as in the golden machine.
    """
    data, pc = np.ascontiguousarray(decoded["data"]), decoded["pc"]
    width = 2 if memory == "score" else 1
    elements = data.shape[1] // width
    mask = decoded.get("mask", np.ones((len(pc), elements), np.bool_))[:, :elements]
    covered = np.repeat(mask, width, axis=1)
    wrong = (decoded["bad"] & covered).any(axis=1)
    if wrong.any():
        raise SimulationError(f"instruction {pc[wrong][0]} wrote undefined bits ({memory} memory)")
    data = np.where(covered, data, 0).astype(np.uint8)
    if memory == "token":
        return {"token_address": decoded["address"], "token_data": data, "token_mask": mask}
    if memory == "row":
        bank = np.where(decoded["bank"] == banks, -1, decoded["bank"])
        return {"row_bank": bank, "row_address": decoded["address"], "row_data": data}
    if memory == "score":
        return {"scores": data.view("<i2").astype(np.int16), "score_valid": mask}
    return {"probs": data}
