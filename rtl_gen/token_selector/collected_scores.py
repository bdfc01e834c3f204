"""Collects the attention of CLS to every token, head after head."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl_gen.interfaces import ROW_SCALE, ROWS_BITS
from rtl_gen.postproc.requantize import Requantize
from spec.formats import PROB, SCORE
from spec.isa import ScoreUse

__all__ = ["SCORE_MULTIPLIER", "SCORE_SHIFT", "CollectedScores"]

SCORE_MULTIPLIER, SCORE_SHIFT = 1 << 15, 1
"""Of a row's requantizer: one, in units of SCORE; the row's sum divides it."""


class CollectedScores(wiring.Component):
    """Keeps one row of probabilities, divides it by its sum, and sets or adds to the scores.

    Golden twin: `golden_model.units.token_score.attention_score`. A key a cycle, from `LATENCY`
    cycles after the scale on; one row at a time.

    Members
    -------
    begin, use : a row will come; only when `ready`
    word, probs : its next probabilities, 0 where there is no key
    scale_valid, scale : its requantizer, after all words
    ready : the row is in the scores, the next one may begin
    forget : the scores do not count any more, and those of the row in work never will
    enable, token : asks for a token's score
    score : one cycle later; 0 if none was set
    """

    LATENCY = 6

    def __init__(self, *, banks: int, prob_words: int) -> None:
        self.banks, self.prob_words = banks, prob_words
        super().__init__(
            {
                "begin": In(1),
                "use": In(ScoreUse),
                "word": In(1),
                "probs": In(banks * PROB.bits),
                "scale_valid": In(1),
                "scale": In(ROW_SCALE),
                "ready": Out(1),
                "forget": In(1),
                "enable": In(1),
                "token": In(ROWS_BITS),
                "score": Out(SCORE.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The row's memory, the requantizer, the scores' memory."""
        m = Module()
        tokens = self.prob_words * self.banks
        m.submodules.row = row = Memory(
            shape=unsigned(self.banks * PROB.bits), depth=self.prob_words, init=[]
        )
        m.submodules.scores = scores = Memory(shape=unsigned(SCORE.bits), depth=tokens, init=[])
        m.submodules.requantize = requantize = Requantize(
            low=SCORE.low, high=SCORE.high, x_bits=PROB.bits + 1, addend_bits=0, logic=True
        )
        row_write, row_read = row.write_port(), row.read_port()
        write, read = scores.write_port(), scores.read_port()

        # Words of the row
        busy, adds, counts, forgets = Signal(), Signal(), Signal(), Signal()
        """A row is in work; it is added; the scores count; they will not after this row."""
        words = Signal(range(self.prob_words + 1))
        m.d.comb += [
            self.ready.eq(~busy),
            row_write.en.eq(self.word),
            row_write.addr.eq(words),
            row_write.data.eq(self.probs),
        ]
        with m.If(self.begin):
            m.d.sync += [
                busy.eq(1),
                words.eq(0),
                adds.eq((self.use == ScoreUse.ADD) & counts & ~self.forget),
            ]
        with m.Elif(self.word):
            m.d.sync += words.eq(words + 1)

        # One key after the other
        walking, scale = Signal(), Signal(ROW_SCALE)
        token = Signal(range(tokens + 1))
        lane_bits = exact_log2(self.banks)
        lane, prob = Signal(range(max(2, self.banks))), Signal(PROB.bits)
        stages = Signal(self.LATENCY - 1)
        last = Signal()
        m.d.comb += last.eq(token + 1 == Cat(Const(0, lane_bits), words))
        with m.If(self.scale_valid):
            m.d.sync += [walking.eq(1), scale.eq(self.scale), token.eq(0)]
        with m.Elif(walking):
            m.d.sync += [token.eq(token + 1), walking.eq(~last)]
        m.d.sync += [
            stages.eq(stages << 1 | walking),
            lane.eq(token[:lane_bits]),
            prob.eq(Value.cast(row_read.data).word_select(lane, PROB.bits)),
        ]
        m.d.comb += [
            row_read.en.eq(walking),
            row_read.addr.eq(token[lane_bits:]),
            read.en.eq(walking | self.enable),
            read.addr.eq(Mux(busy, token, self.token)),
            requantize.enable.eq(1),
            requantize.x.eq(prob),
            requantize.multiplier.eq(scale.multiplier),
            requantize.shift.eq(scale.shift),
            self.score.eq(Mux(counts, read.data, 0)),
        ]

        # The old score waits for the new one
        old = data.ArrayLayout(SCORE.bits, requantize.latency + 1)
        waiting = Signal(old)
        written = Signal(range(tokens + 1))
        total = Signal(SCORE.bits + 1)
        m.d.sync += waiting.as_value().eq(Cat(Mux(adds, read.data, 0), waiting.as_value()))
        m.d.comb += [
            total.eq(requantize.o + waiting[-1]),
            write.en.eq(stages[-1]),
            write.addr.eq(written),
            write.data.eq(Mux(total > SCORE.high, SCORE.high, total)),
        ]
        with m.If(self.scale_valid):
            m.d.sync += written.eq(0)
        with m.Elif(stages[-1]):
            m.d.sync += written.eq(written + 1)
        with m.If(stages[-1] & ~stages[-2]):
            m.d.sync += [busy.eq(0), counts.eq(~forgets), forgets.eq(0)]
        with m.If(self.forget):
            m.d.sync += [counts.eq(0), forgets.eq(busy & ~(stages[-1] & ~stages[-2]))]
        return m
