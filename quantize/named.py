"""Quantised models by name alone: random weights, calibrated on random pictures."""

from dataclasses import replace

from quantize.architectures import ARCHITECTURES, random_weights
from quantize.errors import QuantizeError
from quantize.float_model import FloatModel
from quantize.pictures import random_pictures
from quantize.quantize_model import quantize_model
from spec.model_config import ModelConfig, float_shapes
from spec.model_file import Model

__all__ = ["first_blocks", "is_named", "named_shape", "quantized_named"]

CALIBRATION_PICTURES = 8
BLOCKS = ":"
"""Between a name and a number of encoder blocks: `deit_base_patch16_224:2` has the first two."""


def is_named(name: str) -> bool:
    """Whether `quantized_named` knows the name, perhaps with a number of blocks."""
    return name.partition(BLOCKS)[0] in ARCHITECTURES


def quantized_named(name: str, seed: int = 0) -> Model:
    """Make the model; the same one on every machine. `NAME:N` is its first N encoder blocks."""
    depth = named_shape(name).depth
    model = random_weights(name.partition(BLOCKS)[0], seed)
    if depth < model.config.depth:
        model = first_blocks(model, depth)
    return quantize_model(model, random_pictures(model.config, CALIBRATION_PICTURES, seed))


def named_shape(name: str) -> ModelConfig:
    """The shape of the model of that name."""
    base, cut, blocks = name.partition(BLOCKS)
    shape = ARCHITECTURES[base].config
    if not cut:
        return shape
    if not blocks.isdecimal() or not 1 <= int(blocks) <= shape.depth:
        raise QuantizeError(f"{name}: {base} has 1..{shape.depth} blocks, not '{blocks}'")
    return replace(shape, depth=int(blocks))


def first_blocks(model: FloatModel, depth: int) -> FloatModel:
    """The model without its last encoder blocks."""
    config = replace(model.config, depth=depth)
    kept = {name: model.parameters[name] for name in float_shapes(config)}
    return replace(model, config=config, parameters=kept)
