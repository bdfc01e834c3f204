"""Probabilities of a few logits below their row's maximum: the quadratic of HeatViT (eq. 14)."""

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.postproc.threshold import Threshold
from rtl_gen.primitives.multiply import multiply
from spec.formats import LOGIT, PROB, SOFTMAX

__all__ = ["Exponential"]

DISTANCE_BITS = LOGIT.bits + 1
OCTAVE_BITS = SOFTMAX.max_octaves.bit_length()
CENTER_BITS = SOFTMAX.center.bit_length()
SQUARE_BITS = 2 * CENTER_BITS
POLY_BITS = (SOFTMAX.slope * SOFTMAX.center**2 + SOFTMAX.constant).bit_length()
SUM_BITS = SOFTMAX.sum_bits


def times_constant(value: Value, factor: int) -> Value:
    """`value * factor` from shifts and adds, never from a multiplier block."""
    terms = [value << bit for bit in range(factor.bit_length()) if factor >> bit & 1]
    while len(terms) > 1:
        pairs = [sum(terms[at : at + 2], Const(0, 1)) for at in range(0, len(terms), 2)]
        terms = pairs
    return terms[0]


class Exponential(wiring.Component):
    """`lanes` probabilities a cycle, and their sum.

    Golden twin: `golden_model.units.softmax.probabilities`. Latency: `LATENCY` cycles.
    Throughput: one set a cycle. No back-pressure.

    Members
    -------
    valid, maximum, logits, mask : LOGITs of a row, the row's maximum, and which lanes there are
    probs : PROB, `LATENCY` cycles later; 0 in lanes that are not in the mask
    total : sum of `probs`, in the same cycle
    result_valid : `valid`, delayed likewise

    With `thresholds` (golden twin: `golden_model.units.threshold`):
    limit : in the cycle before the result: `probs` are 0 where they do not exceed it
    raw : what they would be; `total` is the sum of these
    cleared : how many were made 0, in the cycle of the result
    """

    LATENCY = 5

    def __init__(
        self, *, lanes: int, logic_multipliers: bool = False, thresholds: bool = False
    ) -> None:
        self.lanes = lanes
        self.thresholds = thresholds
        limit = {
            "limit": In(PROB.bits),
            "raw": Out(data.ArrayLayout(PROB.bits, lanes)),
            "cleared": Out(range(lanes + 1)),
        }
        self.logic_multipliers = logic_multipliers
        self.total_bits = PROB.bits + (lanes - 1).bit_length()
        super().__init__(
            {
                "valid": In(1),
                "maximum": In(signed(LOGIT.bits)),
                "logits": In(data.ArrayLayout(signed(LOGIT.bits), lanes)),
                "mask": In(lanes),
                "result_valid": Out(1),
                "probs": Out(data.ArrayLayout(PROB.bits, lanes)),
                "total": Out(self.total_bits),
                **(limit if thresholds else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the pipeline, lane by lane."""
        m = Module()
        valid = Signal(self.LATENCY)
        m.d.sync += valid.eq(valid << 1 | self.valid)
        probs = [self._lane(m, lane) for lane in range(self.lanes)]

        total = Signal(self.total_bits)
        m.d.sync += total.eq(sum(probs[1:], probs[0]))
        m.d.comb += [self.result_valid.eq(valid[-1]), self.total.eq(total)]
        for lane, prob in enumerate(probs):
            delayed = Signal(PROB.bits, name=f"prob_{lane}")
            m.d.sync += delayed.eq(prob)
            m.d.comb += (self.raw if self.thresholds else self.probs)[lane].eq(delayed)
        if self.thresholds:
            self._threshold(m, probs, valid[-2])
        return m

    def _threshold(self, m: Module, probs: list[Value], valid: Value) -> None:
        """Clear small ones on the way to `probs`, behind their sum."""
        cleared = Signal(self.lanes)
        for lane, prob in enumerate(probs):
            m.submodules[f"threshold_{lane}"] = threshold = Threshold(
                x_bits=PROB.bits + 1, limit_bits=PROB.bits
            )
            kept = Signal(PROB.bits, name=f"kept_{lane}")
            m.d.comb += [
                threshold.x.eq(prob),
                threshold.limit.eq(self.limit),
                self.probs[lane].eq(kept),
            ]
            m.d.sync += [
                kept.eq(threshold.o[: PROB.bits]),
                cleared[lane].eq(valid & threshold.cleared),
            ]
        m.d.comb += self.cleared.eq(sum(cleared[lane] for lane in range(self.lanes)))

    def _lane(self, m: Module, lane: int) -> Value:
        """Four stages: distance, square, polynomial, shift."""
        distance = Signal(DISTANCE_BITS, name=f"distance_{lane}")
        present = Signal(3, name=f"present_{lane}")
        m.d.sync += [
            distance.eq(self.maximum - self.logits[lane]),
            present.eq(present << 1 | self.mask[lane]),
        ]

        fraction = distance[: SOFTMAX.fraction_bits]
        octaves = distance[SOFTMAX.fraction_bits :]
        center = Signal(CENTER_BITS, name=f"center_{lane}")
        square = Signal(SQUARE_BITS, name=f"square_{lane}")
        octaves_2 = Signal(OCTAVE_BITS, name=f"octaves_2_{lane}")
        m.d.comb += center.eq(SOFTMAX.center - fraction)
        m.d.sync += [
            square.eq(multiply(m, center, center, logic=self.logic_multipliers)),
            octaves_2.eq(Mux(octaves < SOFTMAX.max_octaves, octaves, SOFTMAX.max_octaves)),
        ]

        poly = Signal(POLY_BITS, name=f"poly_{lane}")
        mantissa = Signal(SOFTMAX.exponent_bits, name=f"mantissa_{lane}")
        octaves_3 = Signal(OCTAVE_BITS, name=f"octaves_3_{lane}")
        m.d.comb += poly.eq(times_constant(square, SOFTMAX.slope) + SOFTMAX.constant)
        m.d.sync += [mantissa.eq(poly >> SOFTMAX.poly_shift), octaves_3.eq(octaves_2)]

        # (E + (64 << z)) >> (7 + z) == ((E >> (6 + z)) + 1) >> 1, which is 0 for z >= 9
        coarse = Signal(PROB.bits + 1, name=f"coarse_{lane}")
        rounded = Signal(PROB.bits + 1, name=f"rounded_{lane}")
        prob = Signal(PROB.bits, name=f"rounded_prob_{lane}")
        m.d.comb += [
            coarse.eq(mantissa[SOFTMAX.fraction_bits - 1 :] >> octaves_3),
            rounded.eq(coarse + 1),
        ]
        m.d.sync += prob.eq(Mux(present[2], rounded >> 1, 0))
        return prob
