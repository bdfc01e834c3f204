"""From raw scores to logits: requantize, find each row's maximum."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import scores_layout
from rtl_gen.postproc.requantize import Requantize
from rtl_gen.postproc.threshold import Threshold
from spec.formats import ACC, LOGIT, REQUANTIZE
from spec.isa import SIEVE

__all__ = ["Logits"]


class Logits(wiring.Component):
    """Requantizes `banks` scores, `lanes` a cycle, and keeps the maximum of the row.

    Golden twin: `golden_model.units.requantize.requantize` to LOGIT. Latency: `LATENCY` cycles
    from the transfer of a word to `valid`. Throughput: one word in banks / lanes cycles.
    Back-pressure: none at the output; `scores` waits in the cycle after one with `enable` low.

    split : of the requantizers

    Members
    -------
    enable : scores may be taken in the next cycle; `multiplier` and `shift` stay put from then
        until not `busy`
    scores : raw scores, `last` on a row's last word
    ready_next : what `scores.ready`, a register, will be in the next cycle
    multiplier, shift : requantizer of the scores
    valid, values, mask, last, maximum : a word of LOGITs, 0 in lanes not in `mask`; with `last`,
        `maximum` is that of the whole row
    present : with `last`: the row has a logit
    second : with `pairs`: logits of a second query; it has a maximum of its own
    saturations : logits that were clipped in this cycle
    limit, cleared : with `thresholds`: of the logits, before the maximum is taken; how many it made
        0 in this cycle
    busy : words are between `scores` and `valid`
    """

    LATENCY = Requantize.LATENCY_WITHOUT_ADDEND + 2

    def __init__(
        self,
        *,
        banks: int,
        lanes: int,
        pairs: bool = False,
        thresholds: bool = False,
        split: bool = False,
    ) -> None:
        if banks % lanes:
            raise ValueError(f"lanes must divide banks ({banks}), not {lanes}")
        self.banks = banks
        self.lanes = lanes
        self.pairs = pairs
        self.thresholds = thresholds
        self.split = split
        limit = {"limit": In(SIEVE["score_threshold"].shape), "cleared": Out(range(lanes + 1))}
        super().__init__(
            {
                "enable": In(1),
                "scores": In(stream.Signature(scores_layout(banks, pairs))),
                "ready_next": Out(1),
                "multiplier": In(REQUANTIZE.multiplier_bits),
                "shift": In(REQUANTIZE.shift_bits),
                "valid": Out(1),
                "values": Out(data.ArrayLayout(signed(LOGIT.bits), banks)),
                "mask": Out(banks),
                "last": Out(1),
                "maximum": Out(data.ArrayLayout(signed(LOGIT.bits), 1 + pairs)),
                "present": Out(1 + pairs),
                **({"second": Out(banks)} if pairs else {}),
                **(limit if thresholds else {}),
                "saturations": Out(range(lanes + 1)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the pipeline: operands, product, shift, clip, maximum; then whole words."""
        m = Module()
        chunks = self.banks // self.lanes
        scores = self.scores.payload

        # Stages 0..3 carry what the stage before has; 0 is the input
        chunk = Signal(range(max(chunks, 2)))
        next_chunk = Signal.like(chunk)
        enabled, taken, word_end = Signal(), Signal(), Signal()
        m.d.comb += [
            taken.eq(self.scores.valid & enabled),
            word_end.eq(chunk == chunks - 1),
            next_chunk.eq(Mux(taken, Mux(word_end, 0, chunk + 1), chunk)),
            self.ready_next.eq(self.enable & (next_chunk == chunks - 1)),
        ]
        m.d.sync += [
            enabled.eq(self.enable),
            chunk.eq(next_chunk),
            self.scores.ready.eq(self.ready_next),
        ]
        present = scores.valid.word_select(chunk, self.lanes)
        valid = Signal(self.LATENCY - 1)
        ends = Signal(self.LATENCY - 1)
        lasts = Signal(self.LATENCY - 1)
        masks = Signal(self.lanes * (self.LATENCY - 1))
        m.d.sync += [
            valid.eq(valid << 1 | taken),
            ends.eq(ends << 1 | word_end),
            lasts.eq(lasts << 1 | (scores.last & word_end)),
            masks.eq(Cat(present, masks)),
        ]

        mask_3, mask_4 = masks[-2 * self.lanes : -self.lanes], masks[-self.lanes :]
        seconds = Signal.like(masks)
        second_4 = seconds[-self.lanes :]
        if self.pairs:
            own = scores.tag.second.word_select(chunk, self.lanes)
            m.d.sync += seconds.eq(Cat(own, seconds))

        # Stages 1..3 requantize to one more than a LOGIT holds, 4 clips and counts
        clipped, cleared = Signal(self.lanes), Signal(self.lanes)
        lanes = []
        for lane in range(self.lanes):
            wide = Requantize(
                x_bits=ACC.bits,
                addend_bits=0,
                low=LOGIT.low - 1,
                high=LOGIT.high + 1,
                split=self.split,
            )
            m.submodules[f"requantize_{lane}"] = wide
            score = Value.cast(scores.values).word_select(chunk * self.lanes + lane, ACC.bits)
            value = Signal(signed(LOGIT.bits), name=f"logit_{lane}")
            low, high = wide.o < LOGIT.low, wide.o > LOGIT.high
            m.d.comb += [
                wide.enable.eq(1),
                wide.x.eq(score),
                wide.multiplier.eq(self.multiplier),
                wide.shift.eq(self.shift),
                clipped[lane].eq(valid[-2] & mask_3[lane] & (low | high)),
            ]
            result = Mux(low, LOGIT.low, Mux(high, LOGIT.high, wide.o))
            if self.thresholds:
                m.submodules[f"threshold_{lane}"] = threshold = Threshold(
                    x_bits=LOGIT.bits, limit_bits=len(self.limit)
                )
                m.d.comb += [
                    threshold.x.eq(result),
                    threshold.limit.eq(self.limit),
                    cleared[lane].eq(valid[-2] & mask_3[lane] & threshold.cleared),
                ]
                result = threshold.o
            m.d.sync += value.eq(Mux(mask_3[lane], result, 0))
            lanes.append(value)
        if self.thresholds:
            m.d.sync += self.cleared.eq(sum(cleared[lane] for lane in range(self.lanes)))
        m.d.sync += self.saturations.eq(sum(clipped[1:], clipped[0]))

        # Stage 5: maximum of the chunk, word
        word = Signal(self.banks * LOGIT.bits)
        mask, second = Signal(self.banks), Signal(self.banks)
        chunk_valid, last = Signal(), Signal()
        m.d.sync += [
            chunk_valid.eq(valid[-1]),
            self.busy.eq(taken | valid.any()),
            self.valid.eq(valid[-1] & ends[-1]),
            last.eq(lasts[-1]),
        ]
        with m.If(valid[-1]):
            m.d.sync += [
                word.eq(Cat(word, *lanes)[-len(word) :]),
                mask.eq(Cat(mask, mask_4)[-len(mask) :]),
                second.eq(Cat(second, second_4)[-len(second) :]),
            ]
        m.d.comb += [
            self.values.as_value().eq(word),
            self.mask.eq(mask),
            self.last.eq(last & self.valid),
        ]
        if self.pairs:
            m.d.comb += self.second.eq(second)
        for query in range(1 + self.pairs):
            own = mask_4 & (second_4 if query else ~second_4)
            self._maximum(m, query, valid[-1], lanes, own, chunk_valid)
        return m

    def _maximum(
        self, m: Module, query: int, valid: Value, lanes: list[Signal], own: Value, later: Value
    ) -> None:
        """Of the row, over one query's logits; `later` is `valid` one cycle later."""
        low = LOGIT.low
        candidates = [Mux(own[lane], value, low) for lane, value in enumerate(lanes)]
        while len(candidates) > 1:
            candidates = [larger(*candidates[at : at + 2]) for at in range(0, len(candidates), 2)]
        chunk = Signal(signed(LOGIT.bits), init=low, name=f"chunk_maximum_{query}")
        so_far = Signal(signed(LOGIT.bits), init=low, name=f"so_far_{query}")
        found, found_so_far = Signal(name=f"found_{query}"), Signal(name=f"found_so_far_{query}")
        with m.If(valid):
            m.d.sync += [chunk.eq(candidates[0]), found.eq(own.any())]
        with m.If(later):
            m.d.sync += [
                so_far.eq(Mux(self.last, low, self.maximum[query])),
                found_so_far.eq(~self.last & self.present[query]),
            ]
        m.d.comb += [
            self.maximum[query].eq(larger(so_far, chunk)),
            self.present[query].eq(found_so_far | found),
        ]


def larger(a: Value, b: Value) -> Value:
    """The maximum of two signed values."""
    return Mux(a > b, a, b)
