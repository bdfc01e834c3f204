"""What a model costs on a machine: the bound no schedule can beat."""

from perf_model.roofline import Roofline, roofline

__all__ = ["Roofline", "roofline"]
