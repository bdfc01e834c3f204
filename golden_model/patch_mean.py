"""The mean of the normalised patches."""

import numpy as np
from numpy.typing import NDArray

from golden_model.units.requantize import requantize
from golden_model.units.softmax import row_scale
from spec.formats import ACT, PROB
from spec.model_file import Model

__all__ = ["patch_mean"]


def patch_mean(model: Model, name: str, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """Mean of the rows in a scale of its own: attention whose logits are all equal.

    All probabilities are 255 then, and the sum of the rows is exact; dividing by the number of
    rows and changing the scale is attention's one rounding.

    x : ACT [n, rows, embed_dim]
    result : ACT [n, 1, embed_dim]
    """
    multiplier, shift = (int(model[f"{name}.{kind}"][0]) for kind in ("mult", "shift"))
    multiplier, shift = row_scale(PROB.high * x.shape[1], multiplier, shift)
    total = PROB.high * x.sum(axis=1, keepdims=True, dtype=np.int64)
    return requantize(total, 0, multiplier, shift, ACT.low, ACT.high).astype(np.int8)
