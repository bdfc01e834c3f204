"""Where a compiled model lies in the memory of a board: all windows, behind a header.

The header tells a host which image the memory holds, so that it need not be sent again.
"""

import hashlib
from dataclasses import dataclass

from spec.errors import SievitError
from spec.image import ALIGNMENT_BYTES, Image
from spec.isa import Window

__all__ = ["HEADER_BYTES", "BoardMemory", "BoardMemoryError", "board_memory"]

HEADER_BYTES = ALIGNMENT_BYTES
HEADER_MAGIC = b"SIEVIT01"


class BoardMemoryError(SievitError, ValueError):
    """An image that a board cannot hold: says what is needed and what there is."""


@dataclass(frozen=True, kw_only=True)
class BoardMemory:
    """A layout of one image."""

    header: bytes
    """First `HEADER_BYTES`; depends on everything that is loaded and on where it lies."""
    bases: dict[Window, int]
    limits: dict[Window, int]
    size_bytes: int
    """What the image takes, from address 0 on."""
    content: bytes
    """Header, program and weights where they lie: what a board's memory holds at first."""


def board_memory(image: Image, available: int | None = None) -> BoardMemory:
    """Lay an image out.

    available : bytes that there are; `BoardMemoryError` if they are too few
    """
    limits = {
        Window.PROGRAM: image.program.size,
        Window.WEIGHTS: image.weights.size,
        Window.SCRATCH: image.scratch_bytes,
        Window.INPUT: image.input_bytes,
        Window.RESULT: image.result_bytes,
    }
    bases, at = {}, HEADER_BYTES
    for window, limit in limits.items():
        bases[window] = at
        at += -(-limit // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    if available is not None and at > available:
        raise BoardMemoryError(
            f"the image for config '{image.config_name}' takes {at:,} bytes, the board has "
            f"{available:,}: a smaller model or a larger board is needed"
        )
    loaded = bytearray(bases[Window.SCRATCH])
    for window, tensor in ((Window.PROGRAM, image.program), (Window.WEIGHTS, image.weights)):
        loaded[bases[window] : bases[window] + limits[window]] = tensor.tobytes()
    geometry = [image.config_digest, *bases.values(), *limits.values()]
    digest = hashlib.sha256(bytes(loaded) + repr(geometry).encode()).digest()
    header = (HEADER_MAGIC + digest).ljust(HEADER_BYTES, b"\0")
    loaded[:HEADER_BYTES] = header
    return BoardMemory(
        header=header, bases=bases, limits=limits, size_bytes=at, content=bytes(loaded)
    )
