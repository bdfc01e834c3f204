"""What a model costs on a machine: the bound no schedule can beat, and what a program takes."""

from perf_model.estimate import estimate
from perf_model.roofline import Roofline, roofline
from perf_model.traffic import Traffic, traffic

__all__ = ["Roofline", "Traffic", "estimate", "roofline", "traffic"]
