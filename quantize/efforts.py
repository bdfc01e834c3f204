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

__all__ = ["gate_tensors", "split_efforts", "threshold_code", "with_efforts", "with_shape"]

SKIP = "~skip"
"""Before the blocks of an effort that have no attention: `NAME~skip1.3`, or `NAME~skip1.3@0.7` with
the entropy, in bits, up to which a picture needs no more."""
_EFFORT = re.compile(r"~skip[^~+:]*")
_NAMED = re.compile(rf"{SKIP}(\d{{1,3}}(?:\.\d{{1,3}})*)(?:@(\d{{1,3}}(?:\.\d+)?|\.\d+))?")


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
    config = with_shape(model.config, efforts)
    tensors: dict[str, Any] = {
        name: value for name, value in model.tensors.items() if not name.startswith("gate.")
    }
    if len(efforts) > 1:
        tensors |= gate_tensors(float(model.scales["head"]))
    return replace(model, config=config, tensors=tensors)


def with_shape(config: ModelConfig, efforts: Sequence[Effort]) -> ModelConfig:
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


def split_efforts(name: str) -> tuple[str, tuple[Effort, ...]]:
    """A name without its efforts, and these; none if it does not say any.

    An effort with a threshold is followed by the next one; the last by one that skips nothing.
    """
    texts, efforts = _EFFORT.findall(name), []
    for number, text in enumerate(texts):
        found = _NAMED.fullmatch(text)
        final = number == len(texts) - 1
        if not found or not (found[2] or final):
            raise QuantizeError(
                f"{name}: an effort is {SKIP}BLOCK.BLOCK and so on, with @BITS behind all but the "
                f"last, such as {SKIP}1.3@0.7, not '{text}'"
            )
        blocks = tuple(int(block) for block in found[1].split("."))
        try:
            threshold = threshold_code(float(found[2] or 0))
        except QuantizeError as error:
            raise QuantizeError(f"{name}: {error}") from None
        efforts.append(Effort(skipped=blocks, threshold=threshold))
        if final and found[2]:
            efforts.append(Effort())
    return _EFFORT.sub("", name), tuple(efforts)
