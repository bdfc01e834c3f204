"""ReLU's zeros in a wanted number, for measurements of speed on models that nobody trained."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from golden_model.collect import Watch, discard
from golden_model.encoder_block import encoder_block
from golden_model.patch_embed import patch_embed
from golden_model.stage import Sequences
from golden_model.units.matmul import matmul_exact
from quantize.errors import QuantizeError
from spec.model_file import FLOAT_PREFIX, Model
from spec.pixels import batch_of

__all__ = ["force_zeros"]


def force_zeros(model: Model, image: NDArray[np.uint8], share: float) -> Model:
    """Set the biases of each fc1 so that a share of the hidden codes is 0 for this image.

    Every channel has that share, over the tokens of the image: which tokens, the weights decide.
    Stages are not looked at. The float originals get the same biases.
    """
    if model.config.activation != "relu":
        raise QuantizeError("zeros are forced behind ReLU only")
    if not 0 <= share < 1:
        raise QuantizeError(f"the share of zeros must be at least 0 and below 1, not {share:g}")
    tensors = dict(model.tensors)
    model = replace(model, tensors=tensors)
    tokens = Sequences.whole(patch_embed(model, batch_of(image[None], model.config)))
    h = tokens.h
    for block in range(model.config.depth):
        name = f"blocks.{block}.mlp.fc1"
        watch = Watch(discard, f"blocks.{block}.norm2")
        encoder_block(model, block, h, tokens.origin, watch)
        sums = matmul_exact(watch.seen[0], model[f"{name}.weight"])
        factor = np.ldexp(
            model[f"{name}.mult"].astype(np.float64), -model[f"{name}.shift"].astype(int)
        )
        # codes are 0 up to half a unit
        bias = np.rint(0.5 / factor - np.quantile(sums, share, axis=0))
        tensors[f"{name}.bias"] = bias.astype(np.int32)
        real = bias * factor * model.scales[name]
        tensors[FLOAT_PREFIX + f"{name}.bias"] = real.astype(np.float16)
        h = encoder_block(model, block, h, tokens.origin)
    return model
