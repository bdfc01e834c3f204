"""Efforts of a model (PIVOT): blocks without attention, and the gate's factor."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from quantize.errors import QuantizeError
from quantize.tables import Tensors, multiplier_shift
from spec.efforts import Effort
from spec.formats import GATE, REQUANTIZE, SOFTMAX
from spec.model_config import ModelConfig, ModelFileError
from spec.model_file import Model

__all__ = ["SKIP", "efforts_of", "gate_tensors", "threshold_code", "with_efforts"]

SKIP = "skip"
"""Before the blocks of an effort that have no attention: `skip1.3`, or `skip1.3@0.7` with the
entropy, in bits, up to which a picture needs no more."""
_NAMED = re.compile(rf"{SKIP}(?:(\d+(?:\.\d+)*)(?:@(\d+(?:\.\d*)?|\.\d+))?)")


def gate_tensors(logits: float) -> Tensors:
    """Multiplier and shift from the logits' unit to the gate's 2**-7 octave.

    logits : real value of one unit of the logits
    """
    unit = logits * math.log2(math.e) * 2**SOFTMAX.fraction_bits
    multiplier, shift = multiplier_shift(unit, "gate", REQUANTIZE.max_shift)
    return {"gate.mult": multiplier, "gate.shift": shift}


def with_efforts(model: Model, efforts: Sequence[Effort]) -> Model:
    """Give a quantised model efforts, instead of any it has; its integers stay as they are.

    Ranges of passes that calibration has not seen may be clipped.
    """
    config = changed(model.config, efforts)
    tensors: dict[str, Any] = {
        name: value for name, value in model.tensors.items() if not name.startswith("gate.")
    }
    if len(efforts) > 1:
        tensors |= gate_tensors(float(model.scales["head"]))
    return replace(model, config=config, tensors=tensors)


def changed(config: ModelConfig, efforts: Sequence[Effort]) -> ModelConfig:
    """The shape with these efforts; `QuantizeError` for those it cannot have."""
    try:
        return replace(config, efforts=tuple(efforts))
    except ModelFileError as error:
        raise QuantizeError(str(error)) from None


def threshold_code(bits: float) -> int:
    """A threshold of the entropy, from bits to units of 2**-10 bit."""
    code = round(bits * (1 << GATE.fraction_bits))
    if not 0 <= code <= GATE.max_threshold:
        most = GATE.max_threshold / (1 << GATE.fraction_bits)
        raise QuantizeError(f"a threshold must be 0..{most:.3f} bits, not {bits:g}")
    return code


def efforts_of(texts: Sequence[str]) -> tuple[Effort, ...]:
    """The efforts of a name, from its words that begin with `skip`; none without one.

    An effort with a threshold is followed by the next one; the last by one that skips nothing.
    """
    efforts = []
    for number, text in enumerate(texts):
        found = _NAMED.fullmatch(text)
        final = number == len(texts) - 1
        if not found or not (found[2] or final):
            raise QuantizeError(
                f"an effort is ~{SKIP}BLOCK.BLOCK... with @BITS if another follows, "
                f"such as ~{SKIP}1.3@0.7, not '~{text}'"
            )
        blocks = tuple(int(block) for block in found[1].split("."))
        efforts.append(Effort(skipped=blocks, threshold=threshold_code(float(found[2] or 0))))
        if final and found[2]:
            efforts.append(Effort())
    return tuple(efforts)
