"""The thresholds of logits and probabilities."""

from typing import TYPE_CHECKING

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data

from rtl_gen.postproc.exponential import Exponential
from rtl_gen.postproc.logits import Logits
from spec.formats import PROB

if TYPE_CHECKING:
    from rtl_gen.postproc.softmax import Softmax

__all__ = ["connect_thresholds"]


def connect_thresholds(
    m: Module,
    softmax: "Softmax",
    logits: Logits,
    exponential: Exponential,
    command: data.View,
    use: data.View,
) -> Signal:
    """Set the limits and count; returns the word of probabilities as they are without a threshold.

    command : of the scores; use : of the probabilities that the exponentials finish next
    """
    word = Signal(softmax.banks * PROB.bits, name="raw_word")
    m.d.comb += [
        logits.limit.eq(command.score_threshold),
        exponential.limit.eq(use.prob_threshold),
        softmax.values_cleared.eq(logits.cleared + exponential.cleared),
    ]
    with m.If(exponential.result_valid):
        m.d.sync += word.eq(Cat(word, exponential.raw)[-len(word) :])
    return word
