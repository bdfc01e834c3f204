"""Idx files, in which MNIST and its successors come: gzipped arrays of unsigned bytes."""

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spec.errors import SievitError

__all__ = ["FASHION_MNIST", "INSTALL", "IdxError", "read_idx"]

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package puts its four files."""
INSTALL = "apt-get install dataset-fashion-mnist"


class IdxError(SievitError, ValueError):
    """An idx file that is missing or damaged: one line that says which and what."""


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read a gzipped idx file of unsigned bytes with that many dimensions."""
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise IdxError(f"{path}: not found; install it with: {INSTALL}") from None
    except (OSError, EOFError) as error:
        raise IdxError(f"{path}: not a gzip file: {error}") from None
    header_bytes = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < header_bytes:
        raise IdxError(f"{path}: not an idx file of unsigned bytes in {dimensions} dimensions")
    shape = np.frombuffer(content, ">u4", dimensions, offset=4).tolist()
    needed, found = int(np.prod(shape)), len(content) - header_bytes
    if needed != found:
        raise IdxError(f"{path}: header {shape} needs {needed:,} bytes, file has {found:,}")
    return np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape)
