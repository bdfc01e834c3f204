"""Float models in, calibration in numpy, quantised model files out; no torch."""

from quantize.errors import QuantizeError
from quantize.float_forward import float_forward
from quantize.float_logits import float_logits
from quantize.float_model import FloatModel, float_model_of, load_float
from quantize.quantize_model import quantize_file, quantize_model

__all__ = [
    "FloatModel",
    "QuantizeError",
    "float_forward",
    "float_logits",
    "float_model_of",
    "load_float",
    "quantize_file",
    "quantize_model",
]
