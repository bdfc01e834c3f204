"""Quantised models by name alone: random weights, calibrated on random pictures."""

from quantize.architectures import random_weights
from quantize.pictures import random_pictures
from quantize.quantize_model import quantize_model
from spec.model_file import Model

__all__ = ["quantized_named"]

CALIBRATION_PICTURES = 8


def quantized_named(name: str, seed: int = 0, image_size: int | None = None) -> Model:
    """Make the model; the same one on every machine."""
    model = random_weights(name, seed, image_size)
    return quantize_model(model, random_pictures(model.config, CALIBRATION_PICTURES, seed))
