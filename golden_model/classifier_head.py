"""The classifier: final LayerNorm and head, of the CLS row alone."""

import numpy as np
from numpy.typing import NDArray

from golden_model.collect import Collect, discard
from golden_model.linear import linear
from golden_model.norm import norm
from spec.formats import RESIDUAL
from spec.model_file import Model

__all__ = ["classifier_head"]


def classifier_head(
    model: Model, h: NDArray[np.int16], collect: Collect = discard
) -> NDArray[np.int16]:
    """Class logits, all in one scale.

    h : RESIDUAL [n, tokens, embed_dim]
    collect : gets norm [n, 1, embed_dim] and head [n, classes]
    result : int16 [n, classes]
    """
    x = norm(model, "norm", h[:, :1])
    collect("norm", x)
    logits = linear(model, "head", x[:, 0], RESIDUAL.low, RESIDUAL.high).astype(np.int16)
    collect("head", logits)
    return logits
