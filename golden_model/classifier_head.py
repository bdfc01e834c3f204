"""The classifier: final LayerNorm, pooling and head."""

import numpy as np
from numpy.typing import NDArray

from golden_model.collect import Collect, discard
from golden_model.linear import linear
from golden_model.norm import norm
from golden_model.patch_mean import patch_mean
from spec.formats import RESIDUAL
from spec.model_file import Model

__all__ = ["classifier_head"]


def classifier_head(
    model: Model, h: NDArray[np.int16], collect: Collect = discard
) -> NDArray[np.int16]:
    """Class logits, all in one scale.

    The head is one layer over one row: the normalised CLS row; the normalised rows of CLS and
    distillation token behind each other (the weights hold half of each head); or the mean of the
    normalised patches.

    h : RESIDUAL [n, tokens, embed_dim]
    collect : gets norm [n, rows, embed_dim], pool [n, 1, embed_dim] if there is a mean, and
        head [n, classes]
    result : int16 [n, classes]
    """
    rows = model.config.head_rows
    x = norm(model, "norm", h[:, rows.start : rows.stop])
    collect("norm", x)
    if model.config.pooling == "mean":
        x = patch_mean(model, "pool", x)
        collect("pool", x)
    row = x.reshape(len(x), model.config.head_depth)
    logits = linear(model, "head", row, RESIDUAL.low, RESIDUAL.high).astype(np.int16)
    collect("head", logits)
    return logits
