"""CollectedScores against the golden unit: rows of CLS set, added, forgotten; scores read back."""

import random
from typing import Any

import cocotb
import numpy as np
from amaranth.lib import wiring

from golden_model.units.softmax import row_scale
from golden_model.units.token_score import attention_score
from rtl_gen.interfaces import ROW_SCALE
from rtl_gen.token_selector.collected_scores import (
    SCORE_MULTIPLIER,
    SCORE_SHIFT,
    CollectedScores,
)
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check, write
from sim.units.softmax_cases import pack_lanes
from spec.formats import SCORE
from spec.isa import ScoreUse

PARAMETERS = [{"banks": 4, "prob_words": 8}, {"banks": 8, "prob_words": 16}]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return CollectedScores(**parameters)


class TB:
    """Gives rows and reads scores."""

    def __init__(self, dut: Any, seed: int) -> None:
        self.dut, self.random = dut, random.Random(f"collected/{seeded(seed)}")
        self.numbers = np.random.default_rng(seeded(seed))
        self.banks = parameters()["banks"]

    def row(self, keys: int) -> np.ndarray:
        """Probabilities of a row: wide, narrow, or of one key only; one of them is the largest."""
        top = self.random.choice((1, 20, 256))
        probs = self.numbers.integers(0, top, keys)
        if self.random.random() < 0.2:
            probs[:] = 0
        probs[self.random.randrange(keys)] = 255
        return probs

    async def give(self, use: ScoreUse, probs: np.ndarray, forget_after: int | None = None) -> None:
        """One row; after some cycles of its walk the scores may be forgotten."""
        dut = self.dut
        while not int(dut.ready.value):
            await cycles(dut)
        write(dut, "use", ScoreUse, use)
        dut.begin.value = 1
        await cycles(dut)
        dut.begin.value = 0
        dut.use.value = self.random.randrange(3)
        padded = np.pad(probs, (0, -len(probs) % self.banks)).reshape(-1, self.banks)
        for word in padded:
            await cycles(dut, self.random.choice((0, 0, 3)))
            dut.word.value, dut.probs.value = 1, pack_lanes(word, 8)
            await cycles(dut)
            dut.word.value, dut.probs.value = 0, self.random.getrandbits(8 * self.banks)
        multiplier, shift = row_scale(int(probs.sum()), SCORE_MULTIPLIER, SCORE_SHIFT)
        await cycles(dut, self.random.randint(1, 12))
        scale = {"multiplier": int(multiplier), "shift": int(shift)}
        write(dut, "scale", ROW_SCALE, scale)
        dut.scale_valid.value = 1
        await cycles(dut)
        dut.scale_valid.value = 0
        check("collected_scores (ready)", int(dut.ready.value), 0)
        for cycle in range(padded.size + CollectedScores.LATENCY - 1):
            dut.forget.value = int(cycle == forget_after)
            check("collected_scores (busy)", int(dut.ready.value), 0, index=cycle)
            await cycles(dut)
        dut.forget.value = 0
        check("collected_scores (ready)", int(dut.ready.value), 1)

    async def scores(self, keys: int) -> list[int]:
        """All scores, read one a cycle."""
        dut, got = self.dut, []
        for token in range(keys):
            dut.enable.value, dut.token.value = 1, token
            await cycles(dut)
            got.append(int(dut.score.value))
        dut.enable.value = 0
        return got


@cocotb.test()
async def heads(dut: Any) -> None:
    """Up to 7 heads, one after the other; sums that reach the format's end."""
    await start(dut)
    bench = TB(dut, 1)
    most = bench.banks * parameters()["prob_words"]
    for keys in (1, bench.banks, most - 1, most, 5):
        probs = np.stack([bench.row(keys) for _ in range(bench.random.randint(1, 7))])
        for head, row in enumerate(probs):
            await bench.give(ScoreUse.ADD if head else ScoreUse.SET, row)
        got = await bench.scores(keys)
        check("collected_scores", got, attention_score(probs), of=keys)
    row = np.array([255])
    for head in range(6):
        await bench.give(ScoreUse.ADD if head else ScoreUse.SET, row)
    check("collected_scores (most)", await bench.scores(1), [SCORE.high])


@cocotb.test()
async def forgotten(dut: Any) -> None:
    """Before anything is set, and after it is forgotten, scores are 0; adding begins anew."""
    await start(dut)
    bench = TB(dut, 2)
    check("collected_scores (fresh)", await bench.scores(5), [0] * 5)
    keys = bench.banks * 2 + 1
    for forget_after in (None, 0, 5, keys + 2, None):
        row = bench.row(keys)
        await bench.give(ScoreUse.ADD, row, forget_after)
        if forget_after is None:
            check("collected_scores", await bench.scores(keys), attention_score(row[None]))
            dut.forget.value = 1
            await cycles(dut)
            dut.forget.value = 0
        check("collected_scores (none)", await bench.scores(keys), [0] * keys, of=forget_after)
