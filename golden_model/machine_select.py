"""SELECT: drops token rows, by the functions of `golden_model.units`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.machine_memory import MachineError, Memories
from golden_model.units.select_tokens import select_tokens
from golden_model.units.token_score import classifier_score
from spec.formats import SCORE
from spec.isa import Package, Scores
from spec.registers import Error

__all__ = ["TokenWords", "select"]

TokenWords = tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.bool_]]
"""Addresses [n], bytes [n, lanes], and which of these are written [n, lanes]."""


def select(memory: Memories, f: Mapping[str, Any]) -> TokenWords:
    """One selection: what it writes, in the order of the hardware; sets the live-token register.

    Word by word of a row: the kept rows behind the prefix, in order, at their new places; then the
    package's, `norm_lanes` channels at a time (a package's channels are made so many a cycle).
    """
    live, prefix, lanes = memory.live, f["prefix"], memory.config.lanes
    if live <= prefix:
        raise MachineError(f"{live} live tokens, there must be more than {prefix}", Error.OPERAND)
    address = memory.token_addresses(f["source"], f["stride"], live, f["words"])
    rows = memory.token[address].reshape(live, -1).view("<i2").astype(np.int16)
    left, keep, memory.packages = select_tokens(
        rows,
        _scores(memory, f),
        threshold=f["threshold"],
        prefix=prefix,
        packages=memory.packages,
        package=f["package"],
        each=bool(f["each"]),
        weight_shift=f["weight_shift"],
    )
    memory.live = len(left)
    content = np.ascontiguousarray(left.astype("<i2")).view(np.uint8)
    content = content.reshape(len(left), f["words"], lanes)
    packaged = f["package"] != Package.NONE and not keep.all()
    kept = range(prefix, len(left) - packaged)
    addresses, data, masks = [], [], []
    whole = np.ones(lanes, np.bool_)
    pieces = _pieces(lanes, memory.config.norm_lanes)
    for word in range(f["words"]):
        for row in kept:
            addresses.append(address[row, word])
            data.append(content[row, word])
            masks.append(whole)
        for mask in pieces if packaged else ():
            addresses.append(address[len(left) - 1, word])
            data.append(content[-1, word])
            masks.append(mask)
    return np.array(addresses, np.int64), np.array(data), np.array(masks)


def _scores(memory: Memories, f: Mapping[str, Any]) -> NDArray[np.int64]:
    """The score of every live row."""
    live = memory.live
    if f["scores"] == Scores.CLS_ATTENTION:
        return np.minimum(memory.scores[:, :live].sum(axis=0), SCORE.high)
    words = -(-2 * f["heads"] // memory.config.lanes)
    keep, attend = (
        memory.tokens(f[name], f["score_stride"], live, words).view("<i2")[:, : f["heads"]]
        for name in ("keep", "attend")
    )
    return classifier_score(keep, attend)


def _pieces(lanes: int, norm_lanes: int) -> list[NDArray[np.bool_]]:
    """The bytes of a word that each write of the package's has."""
    channels = lanes // 2
    number = np.repeat(np.arange(channels), 2)
    return [number // norm_lanes == piece for piece in range(-(-channels // norm_lanes))]
