"""The integer vision transformer in numpy: the reference that the hardware must equal."""

from golden_model.errors import GoldenError
from golden_model.evaluate import Evaluation, evaluate
from golden_model.vit import vit

__all__ = ["Evaluation", "GoldenError", "evaluate", "vit"]
