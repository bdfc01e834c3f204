"""Canonical parameters to the float model: joins, folds and fills, exactly."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from quantize.importers.shape import position_grid
from quantize.resample import resampled
from spec.model_config import ModelConfig, float_shapes

__all__ = ["assemble"]

Array = NDArray[np.float32]


def assemble(config: ModelConfig, found: Mapping[str, Array]) -> dict[str, Array]:
    """Make the parameters that `float_shapes` lists.

    found : canonical name -> float32, of shapes that `config_of` accepted

    LayerScale multiplies the rows of the layer before it: one rounding to float32 an element.
    """
    parameters: dict[str, Array] = {}
    for name, shape in float_shapes(config).items():
        if name == "pos_embed":
            parameters[name] = _positions(config, found[name])
        elif name in found:
            parameters[name] = found[name].reshape(shape)
        elif ".attn.qkv." in name:
            parameters[name] = _joined(name, shape, found)
        elif name in ("head.weight", "head_dist.weight"):
            parameters[name] = np.eye(*shape, dtype=np.float32)
        else:
            parameters[name] = np.zeros(shape, np.float32)
    for n in range(config.depth):
        for gamma, layer in (("ls1", "attn.proj"), ("ls2", "mlp.fc2")):
            scale = found.get(f"blocks.{n}.{gamma}.gamma")
            if scale is not None:
                weight, bias = (f"blocks.{n}.{layer}.{kind}" for kind in ("weight", "bias"))
                parameters[weight] = parameters[weight] * scale[:, None]
                parameters[bias] = parameters[bias] * scale
    return parameters


def _joined(name: str, shape: tuple[int, ...], found: Mapping[str, Array]) -> Array:
    part = (shape[0] // 3, *shape[1:])
    parts = [found.get(name.replace(".qkv.", f".{kind}.")) for kind in "qkv"]
    return np.concatenate([np.zeros(part, np.float32) if p is None else p for p in parts])


def _positions(config: ModelConfig, found: Array) -> Array:
    dim = config.embed_dim
    rows = found.reshape(-1, dim)
    grid = position_grid(len(rows), config.prefix_tokens)
    assert grid is not None
    prefix = np.zeros((config.prefix_tokens, dim), np.float32)
    prefix[: grid.prefix] = rows[: grid.prefix]
    patches = rows[grid.prefix :]
    side = config.image_size // config.patch_size
    if grid.side != side:
        patches = resampled(patches.reshape(grid.side, grid.side, dim), side).reshape(-1, dim)
    return np.concatenate([prefix, patches.astype(np.float32)])[None]
