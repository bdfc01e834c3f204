"""A selection of token rows: what stays, in order, and the package row of what is dropped."""

import numpy as np
from numpy.typing import NDArray

from golden_model.units.requantize import requantize
from golden_model.units.softmax import row_scale
from spec.formats import RESIDUAL, SELECTOR
from spec.isa import Package

__all__ = ["kept_rows", "moved_origins", "package_row", "select_tokens"]


def kept_rows(
    score: NDArray[np.integer],
    *,
    threshold: int,
    prefix: int,
    packages: int,
    package: Package,
    each: bool,
) -> NDArray[np.bool_]:
    """Which rows stay.

    score : SCORE [tokens]; those of the first `prefix` rows mean nothing
    packages : package rows, the last ones
    each : they stay; otherwise they are dropped, into the next one
    package : if nothing is made of the dropped rows, at least one row behind the prefix stays: the
        first, if no score reaches the threshold
    result : bool [tokens]
    """
    keep = np.asarray(score) >= threshold
    if packages:
        keep[-packages:] = each
    keep[:prefix] = True
    if package == Package.NONE and not keep[prefix:].any():
        keep[prefix] = True
    return keep


def package_row(
    h: NDArray[np.int16], score: NDArray[np.integer], package: Package, weight_shift: int
) -> NDArray[np.int16]:
    """The mean of dropped rows (HeatViT eq. 10); plain if all weights are 0.

    h : RESIDUAL [dropped, channels], at least one row
    score : SCORE [dropped]
    result : RESIDUAL [channels]
    """
    highest = (1 << SELECTOR.weight_bits) - 1
    weight = np.minimum(np.asarray(score, np.int64) >> weight_shift, highest)
    if package == Package.MEAN or not weight.any():
        weight = np.ones_like(weight)
    multiplier, shift = row_scale(weight.sum(), 1 << 15, 15)
    total = weight @ h.astype(np.int64)
    return requantize(total, 0, multiplier, shift, RESIDUAL.low, RESIDUAL.high).astype(np.int16)


def select_tokens(
    h: NDArray[np.int16],
    score: NDArray[np.integer],
    *,
    threshold: int,
    prefix: int,
    packages: int,
    package: Package,
    each: bool,
    weight_shift: int,
) -> tuple[NDArray[np.int16], NDArray[np.bool_], int]:
    """One selection.

    h : RESIDUAL [tokens, channels]
    score : SCORE [tokens]
    packages : package rows among them, the last ones
    result : RESIDUAL [kept and perhaps a package, channels]; which rows stay, bool [tokens]; the
        package rows that there are now
    """
    keep = kept_rows(
        score, threshold=threshold, prefix=prefix, packages=packages, package=package, each=each
    )
    rows = h[keep]
    if keep.all() or package == Package.NONE:
        return rows, keep, packages
    new = package_row(h[~keep], score[~keep], package, weight_shift)
    return np.concatenate([rows, new[None]]), keep, packages + 1 if each else 1


def moved_origins(
    origin: NDArray[np.int64], keep: NDArray[np.bool_], left: int, number: int
) -> NDArray[np.int64]:
    """Origins behind a selection: of the rows that stay, and `number` for a package row.

    keep : bool [live rows]; left : rows behind it
    """
    moved, kept = origin.copy(), origin[: len(keep)][keep]
    moved[:left] = number
    moved[: len(kept)] = kept
    return moved
