"""The two layers after attention, with GELU or ReLU between them."""

import numpy as np
from numpy.typing import NDArray

from golden_model.collect import Collect, discard
from golden_model.linear import linear
from golden_model.units.gelu import gelu_activation
from spec.formats import ACT, RESIDUAL
from spec.model_file import Model

__all__ = ["mlp"]


def mlp(
    model: Model, block: int, x: NDArray[np.int8], collect: Collect = discard
) -> NDArray[np.int64]:
    """Apply fc1, the activation and fc2 of an encoder block.

    x : ACT [n, tokens, embed_dim]
    collect : gets fc1, the int8 codes after the activation
    result : RESIDUAL [n, tokens, embed_dim], to be added to the residual stream
    """
    name, limits = f"blocks.{block}.mlp", model.thresholds(block)
    zero_point = int(model[f"{name}.act.zero_point"][0])
    if model.config.activation == "gelu":
        multiplier = int(model[f"{name}.act.mult"][0])
        shift = int(model[f"{name}.act.shift"][0])
        u = linear(model, f"{name}.fc1", x, RESIDUAL.low, RESIDUAL.high, limits["fc1"])
        codes = gelu_activation(u, multiplier, shift, zero_point)
    else:
        codes = linear(model, f"{name}.fc1", x, 0, ACT.high, limits["fc1"])
    collect(f"{name}.fc1", codes.astype(np.int8))
    low, high = RESIDUAL.low, RESIDUAL.high
    return linear(model, f"{name}.fc2", codes - zero_point, low, high, limits["fc2"])
