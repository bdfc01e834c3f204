"""The timing of softmax: `rtl_gen.postproc.softmax` with its rings of logits and probabilities."""

from collections import deque

from perf_model.work import Left
from rtl_gen.postproc.exponential import Exponential
from rtl_gen.postproc.logits import Logits
from rtl_gen.postproc.row_scale import RowScale
from rtl_gen.postproc.softmax import ROWS_IN_FLIGHT
from rtl_gen.token_selector.collected_scores import CollectedScores
from spec.config import Config

__all__ = ["GROUP", "ROW_END", "Softmax"]

COLLECT_CYCLES = 1 + RowScale.LATENCY + CollectedScores.LATENCY
"""From a row's sum to the end of its way into the scores, without a cycle for each key."""
GROUP, ROW_END = 3, 4
"""Scores that wait: a group of a row, or its last one. (Below these: see `perf_model.array`.)"""


class Softmax:
    """Rings and FIFOs as counts, pipelines as bits.

    All rows of an instruction have `words` words, unless it is of pairs of queries: then `pairs`
    has the words and the queries of each that is on its way.
    """

    def __init__(self, config: Config) -> None:
        self.chunks = config.banks // config.score_lanes
        self.banks = config.banks
        self.score_words, self.prob_words = config.score_words, config.prob_words
        self.active = False
        self.rows_left = 0
        self.words = 0
        self.by_pairs = False
        self.pairs: deque[tuple[int, int]] = deque()
        """That have been reserved and not been fetched, and"""
        self.scored: deque[int] = deque()
        """queries of those whose scores have not all come."""
        self.again = False
        """The pair in hand is fetched for its second query."""
        self.row_words: deque[int] = deque()
        """Words that rows were written with, and those that they keep in the packed ring."""
        self.kept_words: deque[int] = deque()
        # scores to logits: a word is in its ring LATENCY cycles after its last chunk was taken
        self.chunk = 0
        self.taken = self.logit_rows = 0
        self.taken_mask = (1 << Logits.LATENCY) - 1
        self.logit_done = 1 << (Logits.LATENCY - 1)
        # logits to probabilities
        self.row_queue = 0
        self.fetched = 0
        self.word_valid = self.word_last = False
        self.fetch_chunk = 0
        stages = Exponential.LATENCY + 1
        self.exp_mask = (1 << stages) - 1
        self.exp_done = 1 << (stages - 1)
        self.exp_rows = 0
        self.scale_mask = (1 << RowScale.LATENCY) - 1
        self.scale_done = 1 << (RowScale.LATENCY - 1)
        self.scaling = 0
        self.rows = self.scales = 0
        self.prob_free = self.prob_words
        self.rows_free = self.scales_free = ROWS_IN_FLIGHT
        self.logit_free = self.score_words
        self.slots_free = ROWS_IN_FLIGHT
        # the row that becomes scores
        self.before = -1
        """Rows to be fetched before it; -1: none is to come."""
        self.wanted = self.gap = False
        """It is being fetched; it has just been."""
        self.exp_wanted = 0
        self.collects = False
        """One is in work."""
        self.collect_cycles = 0
        """Until it is in the scores, once that is known."""

    def command_ready(self) -> bool:
        """Whether the next instruction can be taken."""
        return not self.active and not self.taken

    def start(
        self, rows: int, words: int, collects: bool = False, left: Left | None = None
    ) -> None:
        """Take an instruction, at the end of a cycle in which `command_ready`.

        collects : its first row becomes scores
        left : what sieves leave of it
        """
        packed, by_pairs = left is not None, left is not None and left.pairs is not None
        pending = self.row_queue or self.fetched or self.word_valid or self.exp_rows
        if pending and (packed != bool(self.kept_words) or by_pairs != self.by_pairs):
            # nothing in the model's queues says whose rows are in them; no compiled program does it
            raise RuntimeError("rows by lists and other rows meet in softmax")
        self.active, self.rows_left, self.words = True, rows, words
        self.by_pairs = by_pairs
        if left is not None:
            self.kept_words.extend(left.values)
            if not self.by_pairs:
                self.row_words.extend([words] * rows)
            collects &= not self.by_pairs
        if collects:
            self.before = self.row_queue - (self.fetched != 0)

    def can_reserve(self, words: int) -> bool:
        """Whether there is room for the scores of another row."""
        return self.slots_free != 0 and self.logit_free >= words

    def scores_ready(self) -> bool:
        """Whether waiting scores leave the array in this cycle."""
        return self.active and self.chunk == self.chunks - 1

    def idle(self) -> bool:
        """Nothing in work, all words free."""
        return (
            not self.active
            and not self.taken
            and self.slots_free == self.rows_free == self.scales_free == ROWS_IN_FLIGHT
            and self.logit_free == self.score_words
            and self.prob_free == self.prob_words
        )

    def state(self) -> tuple[int, ...]:
        """Everything but how many rows are left."""
        return (
            self.active,
            self.chunk,
            self.taken,
            self.logit_rows,
            self.row_queue,
            self.fetched,
            self.word_valid,
            self.word_last,
            self.fetch_chunk,
            self.exp_rows,
            self.scaling,
            self.rows,
            self.scales,
            self.prob_free,
            self.rows_free,
            self.scales_free,
            self.logit_free,
            self.slots_free,
            self.before,
            self.wanted,
            self.gap,
            self.exp_wanted,
            self.collects,
            self.collect_cycles,
            len(self.pairs),
            len(self.scored),
            self.again,
        )

    def reserve(self, words: int, queries: int) -> None:
        """Say how many queries the row has that is reserved in this cycle."""
        self.pairs.append((words, queries))
        self.scored.append(queries)

    def step(
        self, scores: int, reserved: int, released: int, row_taken: bool, scale_taken: bool
    ) -> None:
        """One cycle.

        scores : 0, or what waits; reserved, released : words; row_taken, scale_taken : for P.V
        """
        # scores to logits
        taken = 0
        word_end = False
        if scores and self.active:
            taken = 1
            if self.chunk == self.chunks - 1:
                self.chunk = 0
                word_end = True
                if scores == ROW_END:
                    self.rows_left -= self.scored.popleft() if self.by_pairs else 1
                    self.active = self.rows_left != 0
            else:
                self.chunk += 1
        logit_row = self.logit_rows & self.logit_done
        mask = self.taken_mask
        self.taken = (self.taken << 1 | taken) & mask
        self.logit_rows = (self.logit_rows << 1 | (word_end and scores == ROW_END)) & mask
        if self.collect_cycles:
            self.collect_cycles -= 1
            self.collects = self.collect_cycles != 0
        # a word for the exponentials
        may_start = not self.gap and not (self.before == 0 and self.collects)
        self.gap = False
        wanted_out = False
        chunk_last = self.fetch_chunk == self.chunks - 1
        fetch = (
            self.row_queue
            and self.prob_free
            and (self.fetched or (self.rows_free and self.scales_free and may_start))
            and (not self.word_valid or chunk_last)
        )
        word_out = self.word_valid and chunk_last
        row_out = word_out and self.word_last
        if row_out and self.wanted:
            wanted_out, self.wanted = True, False
        if self.word_valid:
            self.fetch_chunk = 0 if chunk_last else self.fetch_chunk + 1
        if fetch:
            starts = self.fetched == 0
            words, frees = self.words, True
            if self.by_pairs:
                words, queries = self.pairs[0]
                frees = self.again or queries == 1
            ends = self.fetched + 1 == words
            self.fetched = 0 if ends else self.fetched + 1
            self.word_valid, self.word_last = True, ends
            self.logit_free += frees
            self.prob_free -= 1
            if starts:
                self.rows_free -= 1
                self.scales_free -= 1
                self.wanted = self.before == 0
                self.before -= self.before >= 0
                self.collects |= self.wanted
            if ends:
                self.row_queue -= frees
                self.slots_free += frees
                self.gap = self.wanted
                if self.by_pairs:
                    self.again = not frees
                    self.row_words.append(words)
                    if frees:
                        self.pairs.popleft()
        elif chunk_last:
            self.word_valid = False
        if logit_row:
            self.row_queue += 1
        # probabilities and scales
        mask = self.exp_mask
        row_done = self.exp_rows & self.exp_done
        self.exp_rows = (self.exp_rows << 1 | row_out) & mask
        if row_done and self.kept_words:
            self.prob_free += self.row_words.popleft() - self.kept_words.popleft()
        if row_done and self.exp_wanted & self.exp_done:
            self.collect_cycles = COLLECT_CYCLES + self.words * self.banks
        self.exp_wanted = (self.exp_wanted << 1 | wanted_out) & mask
        scale_done = self.scaling & self.scale_done
        self.scaling = (self.scaling << 1 | (row_done != 0)) & self.scale_mask
        self.rows += (row_done != 0) - row_taken
        self.scales += (scale_done != 0) - scale_taken
        self.rows_free += row_taken
        self.scales_free += scale_taken
        if reserved:
            self.logit_free -= reserved
            self.slots_free -= 1
        self.prob_free += released
