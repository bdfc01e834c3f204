"""SELECT: drops token rows, by the functions of `golden_model.units`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.machine_memory import MachineError, Memories
from golden_model.units.select_tokens import moved_origins, select_tokens
from golden_model.units.token_score import classifier_score
from spec.formats import SCORE
from spec.isa import Scores
from spec.registers import Error

__all__ = ["TokenWords", "select"]

TokenWords = tuple[NDArray[np.int64], NDArray[np.uint8]]
"""Addresses [n] and bytes [n, lanes] of whole words."""


def select(memory: Memories, f: Mapping[str, Any]) -> TokenWords:
    """One selection: what it writes, in the order of the hardware; sets the live-token register.

    Word by word of a row: the kept rows behind the first dropped one, in order, at their new
    places, and then the package's.
    """
    live, prefix, lanes = memory.live, f["prefix"], memory.config.lanes
    if live <= prefix:
        raise MachineError(f"{live} live tokens, there must be more than {prefix}", Error.OPERAND)
    address = memory.token_addresses(f["source"], f["stride"], live, f["words"])
    rows = memory.token[address].reshape(live, -1).view("<i2").astype(np.int16)
    left, keep, packages = select_tokens(
        rows,
        _scores(memory, f),
        threshold=f["threshold"],
        prefix=prefix,
        packages=memory.packages,
        package=f["package"],
        each=bool(f["each"]),
        weight_shift=f["weight_shift"],
    )
    if not f["more"]:
        number = memory.first_tokens + (memory.packages if f["each"] else 0)
        memory.origin = moved_origins(memory.origin, keep, len(left), number)
        memory.live, memory.packages = len(left), packages
    content = np.ascontiguousarray(left.astype("<i2")).view(np.uint8)
    content = content.reshape(len(left), f["words"], lanes).swapaxes(0, 1)
    moved = slice(int(np.argmin(keep)) if not keep.all() else len(left), len(left))
    return address.T[:, : len(left)][:, moved].reshape(-1), content[:, moved].reshape(-1, lanes)


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
