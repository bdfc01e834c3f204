"""Follows the lists of kept scores: which queries of each pair are alive, and what they keep."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.attention_interfaces import entries_layout
from rtl_gen.interfaces import (
    ROWS_BITS,
    origin_read_port,
    present_port,
    token_read_port,
)
from rtl_gen.sequencer.list_reader import LIST_COMMAND, ListReader
from spec.masks import LIST_ENTRY, MAX_STEPS

__all__ = ["PAIR", "PairWalker"]

PAIR = data.StructLayout({"steps": range(MAX_STEPS + 1), "both": 1})
"""A pair with one live query, or with `both`: steps of its list."""


class PairWalker(wiring.Component):
    """Takes lists apart: a stream of pairs with live queries, and one of their steps.

    Golden twin: `golden_model.machine_lists.kept_pairs`. Latency: six cycles from `start` to the
    first pair. Throughput: one step of the list a cycle, headers and those of pairs without live
    queries among them. Back-pressure: up to `pairs_ahead` pairs and `steps_ahead` steps wait.

    Members
    -------
    start, lists, rows, keys : an instruction begins: its lists, live queries and live keys
    read : the token-memory port
    origin, present : which token a live row is; whether a place has a key
    pairs, entries : see above; entries that do not count are not valid
    active : not all queries have been found
    error : no header, a list that ends too early, or a live query that keeps no key
    passing : a pair without live queries is being passed
    masked : scores of the pair that has just ended that its live queries do not keep
    word_used : another word of the lists is used
    """

    def __init__(
        self, *, banks: int, lanes: int, most: int, pairs_ahead: int = 4, steps_ahead: int = 8
    ) -> None:
        self._banks, self._lanes = banks, lanes
        self._most = min(most, MAX_STEPS)
        self._pairs_ahead, self._steps_ahead = pairs_ahead, steps_ahead
        super().__init__(
            {
                "start": In(1),
                "lists": In(LIST_COMMAND),
                "rows": In(ROWS_BITS),
                "keys": In(ROWS_BITS),
                "read": Out(token_read_port(lanes)),
                "origin": Out(origin_read_port()),
                "lookup": Out(present_port(banks)),
                "pairs": Out(stream.Signature(PAIR)),
                "entries": Out(stream.Signature(entries_layout(banks))),
                "active": Out(1),
                "error": Out(1),
                "passing": Out(1),
                "masked": Out(ROWS_BITS + 1),
                "word_used": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Headers and steps, one a cycle."""
        m = Module()
        banks = self._banks
        depth = max(2, min(4, 8 * banks // self._lanes))
        m.submodules.reader = reader = ListReader(banks=banks, lanes=self._lanes, depth=depth)
        m.submodules.pairs_fifo = pairs = fifo.SyncFIFO(width=PAIR.size, depth=self._pairs_ahead)
        entries_shape = entries_layout(banks)
        m.submodules.entries_fifo = entries = fifo.SyncFIFO(
            width=entries_shape.size, depth=self._steps_ahead
        )
        rows_left, keys = Signal(ROWS_BITS), Signal(ROWS_BITS)
        number, left = Signal(ROWS_BITS), Signal(range(MAX_STEPS + 1))
        alive = Signal(2)
        """Of the pair in hand."""
        step, taken = reader.steps.payload, Signal()
        m.d.comb += [
            reader.start.eq(self.start),
            reader.command.eq(self.lists),
            reader.stop.eq(~self.active),
            taken.eq(reader.steps.valid & reader.steps.ready),
            self.word_used.eq(reader.word_used),
            self.active.eq((rows_left != 0) | (left != 0)),
        ]
        connect(m, flipped(self.read), reader.read)

        # The tokens of the next two rows.
        first_token, second_token, known = self._origins(m)

        # A header, or a step of the pair in hand.
        heads, found, fine = Signal(), Signal(2), Signal()
        last = left == 1
        m.d.comb += [
            heads.eq(left == 0),
            found[0].eq(first_token == number << 1),
            found[1].eq(
                Mux(
                    found[0],
                    (rows_left != 1) & (second_token == Cat(Const(1, 1), number)),
                    first_token == Cat(Const(1, 1), number),
                )
            ),
            fine.eq(
                (step[0] != 0)
                & (step[0] <= self._most)
                & (step[0] < reader.left)
                & ~Cat(step[bank] for bank in range(1, banks)).any()
            ),
            reader.steps.ready.eq(
                Mux(
                    heads,
                    (rows_left != 0) & known & pairs.w_rdy,
                    ~alive.any() | (entries.level < self._steps_ahead - 1),
                )
            ),
            pairs.w_en.eq(taken & heads & fine & found.any()),
            pairs.w_data.eq(Cat(step[0], found.all())),
            self.pairs.payload.eq(pairs.r_data),
            self.pairs.valid.eq(pairs.r_rdy),
            pairs.r_en.eq(self.pairs.ready),
            self.passing.eq(taken & Mux(heads, ~found.any(), ~alive.any())),
        ]
        used = Mux(pairs.w_en, found[0] + found[1], 0)
        m.d.comb += self._used.eq(used)
        with m.If(taken & heads):
            m.d.sync += [number.eq(number + 1), left.eq(step[0]), alive.eq(found)]
        with m.Elif(taken):
            m.d.sync += left.eq(left - 1)
        m.d.sync += rows_left.eq(rows_left - used)
        with m.If(self.start):
            m.d.sync += [rows_left.eq(self.rows), keys.eq(self.keys), number.eq(0), left.eq(0)]

        # Which entries of a live pair's step count, a cycle later.
        looked, ends, pair = Signal(), Signal(), Signal(2)
        shown = Signal(data.ArrayLayout(LIST_ENTRY, banks))
        m.d.sync += looked.eq(taken & ~heads & alive.any())
        with m.If(taken):
            m.d.sync += [shown.eq(step), ends.eq(last), pair.eq(alive)]
        counts = View(entries_shape, entries.w_data)
        own = [Signal(banks, name=f"own_{query}") for query in range(2)]
        for bank in range(banks):
            entry = shown[bank]
            there = entry.valid & self.lookup.present[bank]
            m.d.comb += [
                self.lookup.group[bank].eq(entry.group),
                own[0][bank].eq(there & ~entry.second & pair[0]),
                own[1][bank].eq(there & entry.second & pair[1]),
                counts.valid[bank].eq(own[0][bank] | own[1][bank]),
                counts.tag.second[bank].eq(entry.second),
                counts.tag.group[bank].eq(entry.group),
            ]
        m.d.comb += [
            entries.w_en.eq(looked),
            self.entries.payload.eq(entries.r_data),
            self.entries.valid.eq(entries.r_rdy),
            entries.r_en.eq(self.entries.ready),
        ]
        self._check(m, looked & ends, looked, own, pair, keys)
        bad = (taken & heads & ~fine) | ((rows_left != 0) & heads & (reader.left == 0))
        with m.If(bad):
            m.d.comb += self.error.eq(1)
        return m

    def _origins(self, m: Module) -> tuple[Signal, Signal, Signal]:
        """Read the tokens of rows ahead: those of the next two rows, and whether they are there."""
        tokens = [Signal(ROWS_BITS + 1, name=f"token_{at}") for at in range(3)]
        have, asked = Signal(2), Signal()
        row, to_ask = Signal(ROWS_BITS), Signal(ROWS_BITS)
        self._used = Signal(2)
        left, known = Signal(2), Signal()
        request = self.origin.row
        m.d.comb += [
            request.payload.eq(row),
            request.valid.eq((to_ask != 0) & (have + asked < 3)),
            left.eq(have - self._used),
            known.eq((have >= 2) | ((have == 1) & (to_ask == 0) & ~asked)),
        ]
        m.d.sync += [asked.eq(request.valid & request.ready), have.eq(left + asked)]
        with m.If(request.valid & request.ready):
            m.d.sync += [row.eq(row + 1), to_ask.eq(to_ask - 1)]
        with m.If(self.start):
            m.d.sync += [row.eq(0), to_ask.eq(self.rows), have.eq(0), asked.eq(0)]
        following = [*tokens[1:], self.origin.origin, self.origin.origin, self.origin.origin]
        for at, token in enumerate(tokens):
            kept = Mux(
                self._used == 0, token, Mux(self._used == 1, following[at], following[at + 1])
            )
            with m.If(left > at):
                m.d.sync += token.eq(kept)
            with m.Elif((left == at) & asked):
                m.d.sync += token.eq(self.origin.origin)
        return tokens[0], tokens[1], known

    def _check(
        self, m: Module, ends: Signal, looked: Signal, own: list[Signal], pair: Signal, keys: Signal
    ) -> None:
        """At the end of a pair: whether each live query keeps a key, and what they do not keep."""
        seen, kept = Signal(2), Signal(ROWS_BITS + 1)
        now, count = Signal(2), Signal(ROWS_BITS + 1)
        m.d.comb += [
            now.eq(seen | Cat(own[0].any(), own[1].any())),
            count.eq(kept + sum((own[0] | own[1])[bank] for bank in range(self._banks))),
        ]
        with m.If(looked):
            m.d.sync += [seen.eq(Mux(ends, 0, now)), kept.eq(Mux(ends, 0, count))]
        with m.If(ends):
            m.d.comb += [
                self.masked.eq(Mux(pair.all(), keys << 1, keys) - count),
                self.error.eq((now & pair) != pair),
            ]
