"""A program while it is being written."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from compiler.layers import View
from compiler.packing import words
from compiler.regions import MAX_LOAD_WORDS
from compiler.tiling import Tile
from compiler.token_regions import Region, rows_of
from spec.assembler import Instruction
from spec.image import TensorPart
from spec.isa import Opcode, Window
from spec.semaphores import Semaphore

__all__ = ["Schedule", "rows_of_tile", "transfer", "views_of"]


@dataclass(kw_only=True)
class Schedule:
    """The program before encoding."""

    instructions: list[Instruction] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    parts: dict[str, list[TensorPart]] = field(default_factory=dict)

    def describe(self) -> str:
        """Disassembly with names."""
        lines = zip(self.instructions, self.names, strict=True)
        return "\n".join(f"{pc:5} {op}  ; {name}" for pc, (op, name) in enumerate(lines))

    def add(
        self,
        name: str,
        opcode: Opcode,
        fields: dict[str, Any],
        *,
        wait: Iterable[Semaphore] = (),
        signal: Iterable[Semaphore] = (),
        token_wait: Semaphore | None = None,
        token_signal: Semaphore | None = None,
        row_limit: int = 0,
        views: Iterable[View] = (),
    ) -> None:
        """Append an instruction; its views become parts of their tensors."""
        pc = len(self.instructions)
        self.instructions.append(
            Instruction(
                opcode=opcode,
                fields=fields,
                wait=frozenset(wait),
                signal=frozenset(signal),
                token_wait=token_wait,
                token_signal=token_signal,
                row_limit=row_limit,
            )
        )
        self.names.append(name)
        for tensor, part in views:
            self.parts.setdefault(tensor, []).append(replace(part, pc=pc))


def views_of(views: Iterable[View], tile: Tile) -> tuple[View, ...]:
    """The rows of a tile of what a whole layer makes."""
    return tuple(
        (name, replace(part, row=part.row + tile.first, rows=tile.count)) for name, part in views
    )


def rows_of_tile(region: Region, tile: Tile) -> Region:
    """The rows of a tile."""
    return rows_of(region, tile.first, tile.count)


def transfer(region: Region, window: Window, offset: int, length: int = 0) -> dict[str, Any]:
    """Rows of a region from or to DRAM; a single long row as many rows of a word pair.

    length : words of a row that are moved, if not all
    """
    count, stride = region.rows, region.stride
    length = length or stride
    if length > MAX_LOAD_WORDS and count == 1:
        count, length, stride = words(length, 2), 2, 2
    return {
        "offset": offset,
        "window": window,
        "token": region.base,
        "words": length,
        "stride": stride,
        "rows": count,
        "live": 0,
        "first": 0,
    }
