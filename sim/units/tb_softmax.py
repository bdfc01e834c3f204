"""Softmax against the golden units: every logit, probability, row and row scale, in order."""

import random
from itertools import pairwise
from typing import Any

import cocotb
import numpy as np
from amaranth.lib import data, wiring
from cocotb.triggers import FallingEdge, ReadOnly

from rtl_gen.interfaces import ROW_SCALE, SOFTMAX_COMMAND, prob_row_layout, scores_layout
from rtl_gen.postproc.row_scale import RowScale
from rtl_gen.postproc.softmax import Softmax
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, Source, check, check_all, read
from sim.units.softmax_cases import Case, Row, random_case
from spec.isa import ScoreUse

PARAMETERS = [
    {
        "banks": 4,
        "score_lanes": 4,
        "score_words": 32,
        "prob_words": 32,
        "cls_scores": True,
        "thresholds": True,
    },
    {
        "banks": 8,
        "score_lanes": 4,
        "score_words": 16,
        "prob_words": 32,
        "logic_multipliers": True,
        "pairs": True,
        "skip_zeros": True,
        "thresholds": True,
    },
    {
        "banks": 8,
        "score_lanes": 4,
        "score_words": 16,
        "prob_words": 32,
        "logic_multipliers": True,
    },
    {"banks": 4, "score_lanes": 2, "score_words": 32, "prob_words": 8, "pairs": True},
    {
        "banks": 4,
        "score_lanes": 4,
        "score_words": 32,
        "prob_words": 32,
        "skip_zeros": True,
        "cls_scores": True,
        "thresholds": True,
    },
    {"banks": 4, "score_lanes": 1, "score_words": 8, "prob_words": 4},
    {"banks": 8, "score_lanes": 8, "score_words": 32, "prob_words": 64},
]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return Softmax(**parameters)


def _sieves() -> dict[str, bool]:
    return {name: parameters().get(name, False) for name in ("thresholds", "pairs", "skip_zeros")}


class TB:
    """Sources, sinks and monitors of one softmax; reads the ring as P.V does."""

    def __init__(self, dut: Any, case: Case, *, seed: int = 0, stall: float = 0.0) -> None:
        size = parameters()
        self.dut, self.case, self.seed, self.stall = dut, case, seed, stall
        self.banks, self.prob_words = size["banks"], size["prob_words"]
        self.random = random.Random(f"reader/{seeded(seed)}")
        self.command = Source(dut, "command", SOFTMAX_COMMAND, seed=seed, stall=stall)
        self.reserve = Source(dut, "reserve", 16, seed=seed, stall=stall)
        self.index_bits = component(**size).index_bits
        scores = scores_layout(self.banks, case.pairs)
        rows = prob_row_layout(self.prob_words, self.banks if self.index_bits else 0)
        self.scores = Source(dut, "scores", scores, seed=seed, stall=stall)
        self.rows = Sink(dut, "rows", rows, seed=seed, stall=stall)
        self.row_scale = Sink(dut, "row_scale", ROW_SCALE, seed=seed, stall=stall)
        self.logits: list[dict[str, int]] = []
        self.probs: list[dict[str, int]] = []
        self.events: dict[str, list[int]] = {
            name: [] for name in ("scores", "logits", "probs", "rows", "row_scale")
        }
        """Cycles in which each happened."""
        self.saturations = self.cleared = self.zero_probs = 0
        self.cycle = 0
        self.released = 0
        self.collected: list[tuple[Any, list[int], dict[str, int]]] = []
        cocotb.start_soon(self._monitor())
        cocotb.start_soon(self._grant())
        if parameters().get("cls_scores"):
            cocotb.start_soon(self._collect())
        self.reader = cocotb.start_soon(self._read_rows())

    def _happened(self, name: str) -> bool:
        valid, ready = getattr(self.dut, f"{name}__valid"), getattr(self.dut, f"{name}__ready")
        return bool(int(valid.value) and int(ready.value))

    async def _monitor(self) -> None:
        dut, lane_bits = self.dut, (16, 8)
        traces = {"logits": dut.trace_score, "probs": dut.trace_prob}
        while True:
            await ReadOnly()
            for name in ("scores", "rows", "row_scale"):
                if self._happened(name):
                    self.events[name].append(self.cycle)
            for (name, trace), bits in zip(traces.items(), lane_bits, strict=True):
                value = trace.value
                if value[0] != 1:
                    continue
                flat = int(value)
                self.events[name].append(self.cycle)
                word = {"pc": flat >> 1 & 0xFFFF, "data": flat >> 17 & (1 << bits * self.banks) - 1}
                if name == "logits":
                    word["mask"] = flat >> 17 + bits * self.banks
                getattr(self, name).append(word)
            self.saturations += int(dut.logit_saturations.value)
            if parameters().get("thresholds"):
                self.cleared += int(dut.values_cleared.value)
            if self.index_bits:
                self.zero_probs += int(dut.zero_probs.value)
            await FallingEdge(dut.clk)
            self.cycle += 1

    async def _collect(self) -> None:
        """Takes rows that become scores, one at a time, sometimes slowly."""
        dut, busy, wait = self.dut, False, 0
        words: list[int] = []
        while True:
            dut.collect_ready.value = int(not busy and wait == 0)
            await ReadOnly()
            if int(dut.collect_begin.value):
                check("softmax (collects)", (busy, wait), (False, 0), seed=self.seed)
                busy, words, use = True, [], read(dut, "collect_use", ScoreUse)
            if int(dut.collect_word.value):
                check("softmax (word)", int(dut.trace_prob.value) & 1, 1, seed=self.seed)
                words.append(int(dut.collect_probs.value))
            if int(dut.collect_scaled.value):
                self.collected.append((use, words, read(dut, "collect_scale", ROW_SCALE)))
                busy, wait = False, 1 + self.random.randrange(1 + int(100 * self.stall))
            await FallingEdge(dut.clk)
            wait -= wait > 0

    async def _grant(self) -> None:
        """A row's scores are offered when the row has ring space."""
        granted = 0
        while granted < len(self.case.score_rows):
            await cycles(self.dut)
            while granted < self.reserve.transfers:
                self.scores.put(*self.case.score_rows[granted])
                granted += 1

    async def _read_rows(self) -> None:
        dut = self.dut
        for index, row in enumerate(self.case.rows):
            (got,) = await self.rows.receive(1)
            length = len(row.probs)
            if self.index_bits:
                counts = [len(entries) for entries in row.entries]
                length = max(counts)
                check("softmax (counts)", got["counts"], counts, seed=self.seed, index=index)
            check("softmax (words)", got["words"], length, seed=self.seed, index=index)
            for _ in range(self.random.randint(1, 2) if self.stall else 1):
                for at in range(length):
                    dut.prob_enable.value = 1
                    dut.prob_address.value = (got["address"] + at) % self.prob_words
                    await cycles(dut)
                    self._check_ring("ring", row, index, at)
                    if self.random.random() < self.stall:
                        dut.prob_enable.value = 0
                        dut.prob_address.value = self.random.randrange(self.prob_words)
                        await cycles(dut)
                        self._check_ring("held", row, index, at)
            dut.prob_enable.value = 0
            dut.release.value, dut.release_words.value = 1, length
            await cycles(dut)
            dut.release.value, dut.release_words.value = 0, self.random.getrandbits(16)
            self.released += 1

    def _check_ring(self, what: str, row: Row, index: int, at: int) -> None:
        """Compare a word that is read, of a packed ring the entries that are there."""
        if not self.index_bits:
            got, expected = int(self.dut.prob_data.value), row.probs[at]
            check(f"softmax ({what})", got, expected, seed=self.seed, index=index, of=at)
            return
        there = [bank for bank, entries in enumerate(row.entries) if at < len(entries)]
        probs, places = (
            read(self.dut, name, data.ArrayLayout(bits, self.banks))
            for name, bits in (("prob_data", 8), ("prob_index", self.index_bits))
        )
        got = [(probs[bank], places[bank]) for bank in there]
        expected = [row.entries[bank][at] for bank in there]
        check(f"softmax ({what})", got, expected, seed=self.seed, index=index, of=at)

    async def run(self) -> None:
        """Feed the whole case and compare all that comes."""
        case, seed = self.case, self.seed
        self.command.put(*case.commands)
        self.reserve.put(*(len(words) for words in case.score_rows))
        scales = await self.row_scale.receive(len(case.rows))
        await self.reader
        await cycles(self.dut, 20)
        check_all("softmax (logits)", self.logits, case.logit_words, seed=seed)
        check_all("softmax (probs)", self.probs, case.prob_words, seed=seed)
        check_all("softmax (row scale)", scales, [row.scale for row in case.rows], seed=seed)
        check("softmax (saturations)", self.saturations, case.saturations, seed=seed)
        check("softmax (cleared)", self.cleared, case.cleared, seed=seed)
        check("softmax (zero probs)", self.zero_probs, case.zero_probs, seed=seed)
        check("softmax (idle)", int(self.dut.idle.value), 1, seed=seed)
        if parameters().get("cls_scores"):
            expected = [row.collected for row in case.rows if row.collected is not None]
            check_all("softmax (scores)", self.collected, expected, seed=seed)


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.3, 0.8])
async def random_rows(dut: Any, stall: float) -> None:
    """Several instructions, rows of all lengths that fit, logits of all spreads."""
    seed, size = int(stall * 10), parameters()
    most = min(size["score_words"], size["prob_words"]) * size["banks"]
    case = random_case(
        seed,
        banks=size["banks"],
        row_counts=[1, 9, 2, 6],
        max_keys=min(most, 70),
        **_sieves(),
    )
    await start(dut)
    await TB(dut, case, seed=seed, stall=stall).run()


@cocotb.test()
async def longest_rows(dut: Any) -> None:
    """Rows that fill a ring to the last word."""
    size = parameters()
    most = min(size["score_words"], size["prob_words"]) * size["banks"]
    keys = {"max_keys": most, "min_keys": most}
    case = random_case(5, banks=size["banks"], row_counts=[3], **keys, **_sieves())
    await start(dut)
    await TB(dut, case, seed=5, stall=0.1).run()


@cocotb.test()
async def single_keys(dut: Any) -> None:
    """Many rows of one key, slowly taken: every queue fills up."""
    counts = [45, 1, 1, 3]
    banks = parameters()["banks"]
    case = random_case(6, banks=banks, row_counts=counts, max_keys=1, **_sieves())
    await start(dut)
    await TB(dut, case, seed=6, stall=0.6).run()


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """A word in banks / score_lanes cycles, also across rows, and the stated latencies."""
    size = parameters()
    chunks = size["banks"] // size["score_lanes"]
    sieves = {"pairs": size.get("pairs", False)}
    exact = {"max_keys": size["banks"], "min_keys": size["banks"]}
    case = random_case(8, banks=size["banks"], row_counts=[1], first_masked=4, **exact, **sieves)
    await start(dut)
    bench = TB(dut, case, seed=8)
    await bench.run()
    events = bench.events
    latency = Softmax(**size).LATENCY
    check("softmax (latency)", events["rows"][0] - events["scores"][0], latency)
    check("softmax (scale)", events["row_scale"][0] - events["rows"][0], RowScale.LATENCY)

    words = min(2, size["prob_words"])
    count = min(12, size["prob_words"] // words)
    keys = words * size["banks"] - 1
    exact = {"max_keys": keys, "min_keys": keys}
    case = random_case(
        9, banks=size["banks"], row_counts=[count], first_masked=4, **exact, **sieves
    )
    bench.reader.cancel()
    bench = TB(dut, case, seed=9)
    await bench.run()
    for name in ("logits", "probs"):
        gaps = np.unique([later - earlier for earlier, later in pairwise(bench.events[name])])
        check(f"softmax (gaps of {name})", gaps, [chunks])


@cocotb.test()
async def pairs_at_full_rate(dut: Any) -> None:
    """A pair's words go through the exponentials once for each of its queries, without a gap."""
    size = parameters()
    if not size.get("pairs"):
        return
    keys = 2 * size["banks"]
    case = random_case(
        4,
        banks=size["banks"],
        row_counts=[min(8, size["prob_words"] // 2)],
        max_keys=keys,
        min_keys=keys,
        pairs=True,
    )
    await start(dut)
    bench = TB(dut, case, seed=4)
    await bench.run()
    gaps = [later - earlier for earlier, later in pairwise(bench.events["probs"])]
    check("softmax (gaps of probs)", np.unique(gaps), [size["banks"] // size["score_lanes"]])
