"""The layers of a float model in numpy: LayerNorm, GELU, and the fully connected layer."""

import math

import numpy as np
from numpy.typing import NDArray

from quantize.float_model import FloatModel

__all__ = ["float_gelu", "float_norm", "linear"]

Array = NDArray[np.floating]

STEP = 1024
LIMIT = 8


def _normal_tables() -> tuple[Array, Array]:
    grid = np.arange(-LIMIT * STEP, LIMIT * STEP + 1) / STEP
    phi = [0.5 * math.erfc(-x / math.sqrt(2)) for x in grid]
    phi[0] = 0.0  # so that nothing comes of a large negative x
    density = np.exp(-grid * grid / 2) / math.sqrt(2 * math.pi)
    return np.array(phi, np.float32), density.astype(np.float32)


PHI, DENSITY = _normal_tables()


def float_gelu(x: Array) -> Array:
    """Compute x Phi(x), by the tangent of Phi at the nearest of 1,024 points a unit.

    Error of Phi: at most 2**-25 from the tangent, beside float32's own rounding.
    """
    near = np.clip(x, -LIMIT, LIMIT)
    index = np.rint(near * STEP)
    offset = near - index / STEP
    index = index.astype(np.int32) + LIMIT * STEP
    return np.multiply(x, PHI[index] + offset * DENSITY[index], dtype=x.dtype)


def float_norm(model: FloatModel, name: str, x: Array) -> Array:
    """LayerNorm of rows [..., embed_dim]."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt(variance + model.norm_epsilon)
    return centred * scale * model[f"{name}.weight"] + model[f"{name}.bias"]


def linear(x: Array, weight: Array, bias: Array) -> Array:
    """X [..., inputs] times weight [outputs, inputs], as one matrix product."""
    flat = x.reshape(-1, x.shape[-1]) @ weight.T.astype(x.dtype, copy=False)
    return (flat + bias).reshape(*x.shape[:-1], len(bias))
