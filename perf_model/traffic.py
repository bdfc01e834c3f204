"""What a program moves between DRAM and the chip, by tensor."""

import re
from collections import defaultdict
from dataclasses import dataclass

from spec.assembler import decode
from spec.config import Config
from spec.formats import REQUANTIZE
from spec.image import Image
from spec.isa import Opcode, Window

__all__ = ["Traffic", "traffic"]


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Bytes of one tensor that one image moves; of every encoder block's together."""

    tensor: str
    window: Window
    read: int
    written: int
    unique: int
    """Bytes of DRAM that are touched: more are moved if something is moved twice."""


def traffic(image: Image, config: Config) -> tuple[Traffic, ...]:
    """Every tensor's bytes, in the order of the program; the instructions themselves apart.

    Weights come with their column tables; `residual`, `tokens` (normalised) and `context` are what
    a spilling program keeps in the SCRATCH window.
    """
    moved: dict[tuple[str, Window], list[int]] = defaultdict(lambda: [0, 0])
    touched: dict[tuple[str, Window], dict[int, int]] = defaultdict(dict)
    for word, name in zip(image.program, image.names, strict=True):
        op = decode(word.tobytes())
        f = op.fields
        match op.opcode:
            case Opcode.LOAD_WEIGHTS:
                block_bytes = (REQUANTIZE.entry_bytes + f["depth"]) * config.lanes
                window, size = Window.WEIGHTS, (1 + f["further_groups"]) * block_bytes
            case Opcode.LOAD_NORM:
                window, size = Window.WEIGHTS, REQUANTIZE.entry_bytes * f["channels"]
            case Opcode.LOAD_TOKENS | Opcode.STORE_TOKENS:
                window, size = f["window"], f["rows"] * f["words"] * config.lanes
            case _:
                continue
        key = re.sub(r"^blocks\.\d+", "blocks.*", name), window
        moved[key][op.opcode == Opcode.STORE_TOKENS] += size
        touched[key][f["offset"]] = max(size, touched[key].get(f["offset"], 0))
    return tuple(
        Traffic(
            tensor=name,
            window=window,
            read=read,
            written=written,
            unique=_covered(touched[name, window]),
        )
        for (name, window), (read, written) in moved.items()
    )


def _covered(pieces: dict[int, int]) -> int:
    """Bytes in the union of pieces (offset: size)."""
    end = total = 0
    for offset, size in sorted(pieces.items()):
        total += max(0, offset + size - max(offset, end))
        end = max(end, offset + size)
    return total
