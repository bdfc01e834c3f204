"""Two-class softmax: the share of the first class."""

from amaranth.hdl import Array, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.postproc.exponential import Exponential
from spec.formats import LOGIT, PROB, SELECTOR

__all__ = ["KeepShare"]

ONE = 1 << SELECTOR.share_bits


def _lesser_share(lesser: int) -> int:
    """Share of the class with probability `lesser` beside the maximum's, rounded half up."""
    total = PROB.high + lesser
    return (2 * ONE * lesser + total) // (2 * total)


class KeepShare(wiring.Component):
    """Softmax of a logit and 0: softmax's exponential, then a table of the 256 shares there are.

    Golden twin: `golden_model.units.token_score.keep_share`. Latency: `LATENCY` cycles.
    Throughput: one a cycle. No back-pressure.

    Members
    -------
    keep : LOGIT, the class's less the other's
    share : 0 .. 256, in units of 2**-8, `LATENCY` cycles later
    """

    LATENCY = Exponential.LATENCY + 1

    keep: In(signed(LOGIT.bits))
    share: Out(SELECTOR.share_bits + 1)

    def __init__(self, *, logic_multipliers: bool = False) -> None:
        self.logic_multipliers = logic_multipliers
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        m.submodules.exponential = exponential = Exponential(
            lanes=1, logic_multipliers=self.logic_multipliers
        )
        negative = Signal(Exponential.LATENCY)
        small = Signal(SELECTOR.share_bits)
        table = Array(Const(_lesser_share(prob), len(small)) for prob in range(PROB.high + 1))
        m.d.comb += [
            exponential.valid.eq(1),
            exponential.mask.eq(1),
            exponential.maximum.eq(0),
            exponential.logits[0].eq(Mux(self.keep < 0, self.keep, -self.keep)),
            small.eq(table[exponential.probs[0]]),
        ]
        m.d.sync += [
            negative.eq(negative << 1 | (self.keep < 0)),
            self.share.eq(Mux(negative[-1], small, ONE - small)),
        ]
        return m
