"""Idx files, whole and damaged."""

import gzip
import struct

import numpy as np
import pytest

from spec.idx import IdxError, read_idx


def idx_bytes(array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def test_what_is_written_is_read(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(idx_bytes(array)))
    assert (read_idx(path, 3) == array).all()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"plain", "not a gzip file"),
        (gzip.compress(b"0123456789" * 9)[:-12], "not a gzip file"),
        (gzip.compress(b""), "not an idx file of unsigned bytes in 3 dimensions"),
        (gzip.compress(idx_bytes(np.zeros(4, np.uint8))), "not an idx file of unsigned bytes in 3"),
        (
            gzip.compress(idx_bytes(np.zeros((2, 28, 28), np.uint8))[:-1]),
            r"header \[2, 28, 28\] needs 1,568 bytes, file has 1,567",
        ),
    ],
    # Not the contents: gzip writes the time into them, and every test worker must name the same.
    ids=["plain", "cut off", "empty", "one dimension", "a byte short"],
)
def test_damaged_file(tmp_path, content, text):
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    with pytest.raises(IdxError, match=text):
        read_idx(path, 3)
