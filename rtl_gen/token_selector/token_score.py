"""How much a token matters: the mean of its heads' shares of keeping, weighted by attention."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.primitives.multiply import multiply
from rtl_gen.token_selector.keep_share import KeepShare
from rtl_gen.token_selector.plan_sigmoid import PlanSigmoid
from rtl_gen.token_selector.quotient import Quotient
from spec.formats import LOGIT, SCORE, SELECTOR

__all__ = ["TokenScore"]

SHARE_BITS = SELECTOR.share_bits + 1
WEIGHT_SUM_BITS = SELECTOR.share_bits + 1 + (SELECTOR.max_heads - 1).bit_length()
QUOTIENT = {"divisor_bits": WEIGHT_SUM_BITS, "bits": SHARE_BITS, "digits_per_cycle": 3}


class TokenScore(wiring.Component):
    """Adds up the heads of a token and divides.

    Golden twin: `golden_model.units.token_score.classifier_score`. Latency: `LATENCY` cycles from
    a token's last head. Throughput: a head a cycle, a token in `CYCLES` cycles or more. No
    back-pressure.

    Members
    -------
    valid, keep, attend, last : the logits of a head; `last` with the last one of a token
    result_valid, score : SCORE, a multiple of 2**6
    """

    CYCLES = SHARE_BITS // QUOTIENT["digits_per_cycle"]
    """Least cycles from one token's last head to the next one's."""
    LATENCY = KeepShare.LATENCY + 2 + CYCLES

    valid: In(1)
    keep: In(signed(LOGIT.bits))
    attend: In(signed(16))
    last: In(1)
    result_valid: Out(1)
    score: Out(SCORE.bits)

    def __init__(self, *, logic_multipliers: bool = False) -> None:
        self.logic_multipliers = logic_multipliers
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        """Share and weight, product, sums, quotient."""
        m = Module()
        logic = self.logic_multipliers
        m.submodules.keep_share = share = KeepShare(logic_multipliers=logic)
        m.submodules.plan_sigmoid = sigmoid = PlanSigmoid()
        m.submodules.quotient = quotient = Quotient(**QUOTIENT)
        delay = KeepShare.LATENCY - PlanSigmoid.LATENCY
        m.d.comb += [share.keep.eq(self.keep), sigmoid.x.eq(self.attend)]

        weight = sigmoid.y
        for stage in range(delay):
            later = Signal(SHARE_BITS, name=f"weight_{stage}")
            m.d.sync += later.eq(Mux(weight == 0, 1, weight) if stage == 0 else weight)
            weight = later
        valid, last = (Signal(KeepShare.LATENCY + 1, name=name) for name in ("valids", "lasts"))
        product, added = Signal(2 * SELECTOR.share_bits + 1), Signal(SHARE_BITS)
        total = Signal(len(quotient.dividend))
        weights = Signal(WEIGHT_SUM_BITS)
        first, done = Signal(init=1), Signal()
        m.d.sync += [
            valid.eq(valid << 1 | self.valid),
            last.eq(last << 1 | (self.valid & self.last)),
            product.eq(multiply(m, share.share, weight, logic=logic)),
            added.eq(weight),
            done.eq(valid[-1] & last[-1]),
        ]
        with m.If(valid[-1]):
            m.d.sync += [
                total.eq(Mux(first, 0, total) + product),
                weights.eq(Mux(first, 0, weights) + added),
                first.eq(last[-1]),
            ]
        m.d.comb += [
            quotient.start.eq(done),
            quotient.dividend.eq(total),
            quotient.divisor.eq(weights),
            self.result_valid.eq(quotient.valid),
            self.score.eq(quotient.quotient << SELECTOR.score_bits - SELECTOR.share_bits),
        ]
        return m
