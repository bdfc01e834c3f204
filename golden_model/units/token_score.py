"""How much a token matters: the integer score of a token selector, and that of CLS's attention."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden_model.units.requantize import requantize
from golden_model.units.softmax import probabilities, row_scale
from spec.formats import PROB, SCORE, SELECTOR

__all__ = ["attention_score", "classifier_score", "keep_share", "plan_sigmoid"]

ONE = 1 << SELECTOR.share_bits


def keep_share(keep: ArrayLike) -> NDArray[np.int64]:
    """Two-class softmax (HeatViT eq. 5, delta2 = 1): the share of the first class.

    keep : LOGIT [...], its logit less the other's, in units of 2**-7 octave
    result : [...], 0 .. 256, in units of 2**-8; the shares of both classes make 256

    Worst error over all inputs: 0.0039, one unit.
    """
    keep = np.asarray(keep, dtype=np.int64)
    pair = np.stack([np.zeros_like(keep), -np.abs(keep)], axis=-1)
    lesser = probabilities(pair)[..., 1]
    total = PROB.high + lesser
    small = (2 * ONE * lesser + total) // (2 * total)
    return np.where(keep >= 0, ONE - small, small)


def plan_sigmoid(x: ArrayLike) -> NDArray[np.int64]:
    """Sigmoid in straight pieces (PLAN, the sigmoid of HeatViT); y(-x) = 1 - y(x).

    x : int16 [...], in units of 2**-8
    result : [...], 0 .. 256, in units of 2**-8

    Worst error over all inputs: 0.0215.
    """
    x = np.asarray(x, dtype=np.int64)
    size = np.abs(x)
    y = np.full_like(size, ONE)
    for start, shift, offset in SELECTOR.plan:
        piece = (size >= start) & (size < SELECTOR.plan_end) & (y == ONE)
        y = np.where(piece, (size >> shift) + offset, y)
    return np.where(x < 0, ONE - y, y)


def classifier_score(keep: ArrayLike, attend: ArrayLike) -> NDArray[np.int64]:
    """Keep shares of the heads, weighted by their attention (HeatViT eq. 8, first class).

    No attention is less than one unit, so that the weights never sum to 0: if no head attends, all
    count alike.

    keep : LOGIT [..., heads], see `keep_share`
    attend : int16 [..., heads], see `plan_sigmoid`
    result : SCORE [...], 0 .. 2**14, a multiple of 2**6
    """
    weight = np.maximum(plan_sigmoid(attend), 1)
    mean = (weight * keep_share(keep)).sum(axis=-1) // weight.sum(axis=-1)
    return mean << SELECTOR.score_bits - SELECTOR.share_bits


def attention_score(probs: NDArray[np.integer]) -> NDArray[np.int64]:
    """The attention of CLS to every token, summed over heads (Hsiung & Chang; our reading).

    probs : PROB [..., heads, keys], the row of CLS
    result : SCORE [..., keys]
    """
    multiplier, shift = row_scale(probs.sum(axis=-1, keepdims=True, dtype=np.int64), 1 << 15, 1)
    share = requantize(probs, 0, multiplier, shift, SCORE.low, SCORE.high)
    return np.minimum(share.sum(axis=-2), SCORE.high)
