"""The compiled image: program, weights, and what a loader must know about them.

A safetensors file with two tensors: `program`, uint8 [instructions, 32], and `weights`, uint8
[bytes], the content of the WEIGHTS window (every item 64-byte aligned). Its metadata names the
machine it was compiled for (the digest of `Config`) and carries digests of both tensors.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spec.config import Config
from spec.errors import SievitError
from spec.isa import INSTRUCTION_BYTES
from spec.model_file import ModelFileError, read_tensors, write_tensors

__all__ = [
    "ALIGNMENT_BYTES",
    "FORMAT",
    "VERSION",
    "Image",
    "ImageError",
    "InputGeometry",
    "ResultGeometry",
    "TensorMap",
    "TensorPart",
    "load",
    "save",
]

FORMAT = "sievit-image"
VERSION = "3"
ALIGNMENT_BYTES = 64
"""Of every item in the WEIGHTS window, and of every window's base."""
MAX_INSTRUCTIONS = 1 << 16
MAX_ELEMENTS = 1 << 28
MEMORIES = ("token", "row", "score", "prob", "moved")


class ImageError(SievitError, ValueError):
    """An image that cannot be used: one line that says where and why."""


@dataclass(frozen=True, kw_only=True)
class InputGeometry:
    """INPUT window: `rows` patches of `columns` int8 values, each padded to `row_bytes`."""

    rows: int
    columns: int
    row_bytes: int


@dataclass(frozen=True, kw_only=True)
class ResultGeometry:
    """RESULT window: `classes` int16 logits in `words` token-memory words of `word_bytes`."""

    classes: int
    words: int
    word_bytes: int


@dataclass(frozen=True, kw_only=True)
class TensorPart:
    """Where a piece of a tensor is seen among the writes of instruction `pc`.

    The writes into `memory` (`token`, `row`, `score` or `prob`), `words` of them a row, are read
    as rows of values of `bits` bits. Of row skip + r (r below `rows`), values `lane` ..
    `lane` + `count` - 1 are tensor elements [plane, row + r, channel ..] (no plane if it is -1).
    `moved`: the words that a SELECT writes, each over that of its row in the parts before.

    Rows and columns that are beyond the tensor because tokens were dropped do not count.
    """

    pc: int
    memory: str
    words: int = 1
    bits: int = 8
    skip: int = 0
    row: int = 0
    rows: int
    plane: int = -1
    lane: int = 0
    channel: int = 0
    count: int
    group: int = 0
    """Skip the tensor's rows so many times, beside `skip`: other head groups' writes."""


@dataclass(frozen=True, kw_only=True)
class TensorMap:
    """An intermediate tensor: its shape ([channels], [rows, channels] or with planes in front)."""

    shape: tuple[int, ...]
    """If no token is dropped."""
    dtype: str
    parts: tuple[TensorPart, ...]
    stages: int = 0
    """SELECT instructions before it."""
    live_axes: tuple[int, ...] = ()
    """Axes of the shape that are shorter by the number of dropped tokens."""

    def shape_of(self, dropped: int) -> tuple[int, ...]:
        """The shape when so many tokens fewer are alive than there were at first."""
        shorter = dict.fromkeys(self.live_axes, dropped)
        return tuple(size - shorter.get(axis, 0) for axis, size in enumerate(self.shape))


@dataclass(frozen=True, kw_only=True)
class Image:
    """A compiled model."""

    program: NDArray[np.uint8]
    weights: NDArray[np.uint8]
    config_name: str
    config_digest: int
    """`Config.digest()` of the machine it was compiled for."""
    model_digest: str
    """SHA-256 of the model's configuration and integer tensors, in hex."""
    model: Mapping[str, Any]
    """The fields of `ModelConfig`."""
    input: InputGeometry
    result: ResultGeometry
    scratch_bytes: int
    tensors: Mapping[str, TensorMap]
    """Every intermediate tensor, in the order of the network."""
    names: tuple[str, ...]
    """For each instruction the tensor (or item) it makes."""

    @property
    def input_bytes(self) -> int:
        """Size of the INPUT window."""
        return self.input.rows * self.input.row_bytes

    @property
    def result_bytes(self) -> int:
        """Size of the RESULT window."""
        return self.result.words * self.result.word_bytes

    def check_config(self, config: Config) -> None:
        """Refuse a machine other than the one the image was compiled for."""
        if self.config_digest != config.digest():
            raise ImageError(
                f"compiled for config '{self.config_name}' ({self.config_digest:016x}), "
                f"this machine is '{config.name}' ({config.digest():016x})"
            )

    def pack_input(self, patches: NDArray[np.int8]) -> bytes:
        """INPUT window of one picture.

        patches : int8 [patches, patch_dim]
        """
        shape = (self.input.rows, self.input.columns)
        if patches.shape != shape or patches.dtype != np.int8:
            raise ImageError(
                f"input must be int8 {list(shape)}, not {patches.dtype} {list(patches.shape)}"
            )
        padded = np.zeros((self.input.rows, self.input.row_bytes), np.int8)
        padded[:, : self.input.columns] = patches
        return padded.tobytes()

    def unpack_result(self, window: bytes) -> NDArray[np.int16]:
        """Logits, int16 [classes], from the RESULT window."""
        if len(window) < self.result_bytes:
            raise ImageError(f"result window has {len(window)} bytes, needs {self.result_bytes}")
        return np.frombuffer(window, "<i2", self.result.classes).astype(np.int16)


def save(image: Image, path: str | os.PathLike[str]) -> None:
    """Write an image, atomically and with the same bytes each time."""
    tensors = {"program": image.program, "weights": image.weights}
    description = {
        "model": dict(image.model),
        "input": asdict(image.input),
        "result": asdict(image.result),
        "scratch_bytes": image.scratch_bytes,
        "tensors": [
            [
                name,
                list(entry.shape),
                entry.dtype,
                [_part_row(part) for part in entry.parts],
                entry.stages,
                list(entry.live_axes),
            ]
            for name, entry in image.tensors.items()
        ],
        "names": list(image.names),
    }
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "config_name": image.config_name,
        "config_digest": f"{image.config_digest:016x}",
        "model_digest": image.model_digest,
        "description": json.dumps(description, sort_keys=True, separators=(",", ":")),
    }
    for name, tensor in tensors.items():
        metadata[f"{name}_sha256"] = hashlib.sha256(tensor.tobytes()).hexdigest()
    metadata["description_sha256"] = hashlib.sha256(metadata["description"].encode()).hexdigest()
    try:
        write_tensors(Path(path), tensors, metadata)
    except ModelFileError as error:
        raise ImageError(str(error)) from None


def load(path: str | os.PathLike[str], config: Config | None = None) -> Image:
    """Read and check an image; with `config`, also that it was compiled for that machine."""
    path = Path(path)
    try:
        metadata, tensors = read_tensors(path)
    except ModelFileError as error:
        raise ImageError(str(error)) from None
    try:
        image = _from_file(metadata, tensors)
        if config is not None:
            image.check_config(config)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        raise ImageError(
            f"{path}: malformed image metadata: {type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'unreadable'}"
        ) from None
    return image


def _from_file(metadata: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]) -> Image:
    for key, wanted in (("format", FORMAT), ("version", VERSION)):
        if metadata.get(key) != wanted:
            raise ImageError(
                f"not a compiled image this release reads: metadata '{key}' must be "
                f"'{wanted}', not {metadata.get(key)!r}"
            )
    if set(tensors) != {"program", "weights"}:
        raise ImageError(f"must hold the tensors program and weights, not {sorted(tensors)}")
    program, weights = tensors["program"], tensors["weights"]
    if program.dtype != np.uint8 or program.ndim != 2 or program.shape[1] != INSTRUCTION_BYTES:
        raise ImageError(
            f"program must be uint8 [instructions, {INSTRUCTION_BYTES}], "
            f"not {program.dtype} {list(program.shape)}"
        )
    if not 1 <= len(program) <= MAX_INSTRUCTIONS:
        raise ImageError(f"program must have 1..{MAX_INSTRUCTIONS} instructions")
    if weights.dtype != np.uint8 or weights.ndim != 1:
        raise ImageError(f"weights must be uint8 [bytes], not {weights.dtype} {weights.shape}")
    contents = {
        "program": program.tobytes(),
        "weights": weights.tobytes(),
        "description": metadata.get("description", "").encode(),
    }
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != metadata.get(f"{name}_sha256"):
            raise ImageError(f"digest mismatch: {name} is not what the compiler wrote")
    description = json.loads(metadata["description"])
    image = Image(
        program=program,
        weights=weights,
        config_name=str(metadata["config_name"]),
        config_digest=int(metadata["config_digest"], 16),
        model_digest=str(metadata["model_digest"]),
        model=dict(description["model"]),
        input=InputGeometry(**description["input"]),
        result=ResultGeometry(**description["result"]),
        scratch_bytes=description["scratch_bytes"],
        tensors={
            name: TensorMap(
                shape=tuple(shape),
                dtype=dtype,
                parts=tuple(_part(row) for row in parts),
                stages=stages,
                live_axes=tuple(axes),
            )
            for name, shape, dtype, parts, stages, axes in description["tensors"]
        },
        names=tuple(str(name) for name in description["names"]),
    )
    _check(image)
    return image


_PART_FIELDS = tuple(TensorPart.__dataclass_fields__)


def _part_row(part: TensorPart) -> list[Any]:
    return [getattr(part, name) for name in _PART_FIELDS]


def _part(row: list[Any]) -> TensorPart:
    return TensorPart(**dict(zip(_PART_FIELDS, row, strict=True)))


def _check(image: Image) -> None:
    """Ranges of everything that a reader uses as a size or an index."""
    numbers = [*asdict(image.input).values(), *asdict(image.result).values(), image.scratch_bytes]
    if not all(type(n) is int and 0 <= n < MAX_ELEMENTS for n in numbers):
        raise ImageError("window sizes must be integers from 0 to 2**28")
    if image.input.columns > image.input.row_bytes:
        raise ImageError("input rows are longer than their bytes")
    if image.result.classes * 2 > image.result_bytes:
        raise ImageError("result window is smaller than its logits")
    if len(image.names) != len(image.program):
        raise ImageError("there must be one name for each instruction")
    for name, entry in image.tensors.items():
        if not all(type(n) is int and n >= 1 for n in entry.shape):
            raise ImageError(f"tensor {name}: shape must hold positive integers")
        if (
            len(entry.shape) not in (1, 2, 3)
            or int(np.prod(entry.shape, dtype=object)) > MAX_ELEMENTS
        ):
            raise ImageError(f"tensor {name}: shape {list(entry.shape)} is not supported")
        if entry.dtype not in ("int8", "int16", "uint8"):
            raise ImageError(f"tensor {name}: dtype {entry.dtype} is not supported")
        if type(entry.stages) is not int or not 0 <= entry.stages <= len(image.program):
            raise ImageError(f"tensor {name}: stages must count SELECT instructions")
        if not all(type(axis) is int and 0 <= axis < len(entry.shape) for axis in entry.live_axes):
            raise ImageError(f"tensor {name}: live axes must be axes of its shape")
        for part in entry.parts:
            _check_part(image, name, entry, part)


def _check_part(image: Image, name: str, entry: TensorMap, part: TensorPart) -> None:
    numbers = [v for k, v in asdict(part).items() if k != "memory"]
    if part.memory not in MEMORIES or not all(type(n) is int and n < 1 << 20 for n in numbers):
        raise ImageError(f"tensor {name}: malformed part")
    planes = entry.shape[0] if len(entry.shape) == 3 else 0
    if (
        min(numbers) < -1
        or min(part.skip, part.row, part.lane, part.channel, part.group) < 0
        or min(part.words, part.rows, part.count) < 1
        or part.bits not in (8, 16)
        or not 0 <= part.pc < len(image.program)
        or part.row + part.rows > (1, *entry.shape)[-2]
        or part.channel + part.count > entry.shape[-1]
        or (not 0 <= part.plane < planes if planes else part.plane != -1)
    ):
        raise ImageError(f"tensor {name}: a part lies outside the tensor or the program")
