"""The ring of logit rows: words in, and row after row out again once its maximum is known."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import PC_BITS, SOFTMAX_COMMAND
from spec.formats import LOGIT
from spec.masks import GROUP_BITS

__all__ = ["ROWS_IN_FLIGHT", "LogitRows", "row_use_layout"]

ROWS_IN_FLIGHT = 16
"""Rows, or pairs of them, between `reserve` and their exponentials."""


def row_use_layout(
    cls_scores: bool = False, pairs: bool = False, skips: bool = False, thresholds: bool = False
) -> data.StructLayout:
    """What an instruction says of its rows' probabilities; the options are those of `Softmax`."""
    names = ["output_multiplier", "output_shift"]
    names += ["scores"] * cls_scores + ["masked"] * pairs + ["skip_zeros"] * skips
    names += ["prob_threshold"] * thresholds
    fields = {name: SOFTMAX_COMMAND[name].shape for name in names}
    return data.StructLayout({"pc": PC_BITS, **fields})


class LogitRows(wiring.Component):
    """Keeps rows of logits until their maximum is known, then hands them to the exponentials.

    A *row* is that of one query. With `pairs`, it can be that of two: then its words come out
    twice, first with the entries of the first query, then with those of the second; of a pair with
    a single query once. Latency: two cycles from a row's `last` to its first `valid`. Throughput:
    `lanes` logits a cycle, no cycle lost between rows. Back-pressure: `reserve` grants ring
    space before a row comes; a word is fetched when `may_fetch`, a row's first one when also
    `may_start`; what is fetched is not held up.

    Members
    -------
    reserve : words of a row that is about to start
    write, values, mask, second : a word of logits, and whose each is (with `pairs`)
    last, maximum, present, use : the row ends: the maximum of each query, if it has a logit
    group_write, group : with `pairs`: places of the keys of a word, no later than the word itself
    may_fetch, may_start : see above
    fetch, starts, ends : a word is fetched, the first or last one of a query's row
    next_use : of the row that is fetched next
    valid, logits, lane_mask, row_maximum : `lanes` logits of the row in work
    word_end, row_end, row_use : it ends with these; what it is for
    word_mask, word_index : entries of the word in work that count, and the places of their keys
        (of a row that is not `masked`: the number of the word)
    idle : all words are free
    """

    def __init__(
        self,
        *,
        banks: int,
        lanes: int,
        words: int,
        use: data.StructLayout,
        pairs: bool = False,
        index_bits: int = 0,
    ) -> None:
        self.banks, self.lanes, self.words = banks, lanes, words
        self.use_layout, self.pairs, self.index_bits = use, pairs, index_bits
        self.queries = 1 + pairs
        groups = {
            "second": In(banks),
            "group_write": In(1),
            "group": In(data.ArrayLayout(GROUP_BITS, banks)),
        }
        super().__init__(
            {
                "reserve": In(stream.Signature(16)),
                "write": In(1),
                "values": In(data.ArrayLayout(signed(LOGIT.bits), banks)),
                "mask": In(banks),
                "last": In(1),
                "maximum": In(data.ArrayLayout(signed(LOGIT.bits), self.queries)),
                "present": In(self.queries),
                "use": In(use),
                "may_fetch": In(1),
                "may_start": In(1),
                "fetch": Out(1),
                "starts": Out(1),
                "ends": Out(1),
                "next_use": Out(use),
                "valid": Out(1),
                "logits": Out(data.ArrayLayout(signed(LOGIT.bits), lanes)),
                "lane_mask": Out(lanes),
                "row_maximum": Out(signed(LOGIT.bits)),
                "word_end": Out(1),
                "row_end": Out(1),
                "row_use": Out(use),
                "word_mask": Out(banks),
                "idle": Out(1),
                **(groups if pairs else {}),
                **({"word_index": Out(data.ArrayLayout(index_bits, banks))} if index_bits else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Words into the ring, complete rows out of it."""
        m = Module()
        banks, lanes, chunks = self.banks, self.lanes, self.banks // self.lanes
        row_layout = data.StructLayout(
            {
                "maximum": self.maximum.shape(),
                "present": self.queries,
                "words": 16,
                "use": self.use_layout,
            }
        )
        word_layout = data.StructLayout(
            {
                "values": self.values.shape(),
                "mask": banks,
                **({"second": banks} if self.pairs else {}),
            }
        )
        m.submodules.ring = ring = memory.Memory(shape=word_layout, depth=self.words, init=[])
        m.submodules.row_queue = row_queue = fifo.SyncFIFO(
            width=row_layout.size, depth=ROWS_IN_FLIGHT
        )
        write, read = ring.write_port(), ring.read_port()
        written = Signal(16)
        complete = Signal(row_layout)
        m.d.comb += [
            write.en.eq(self.write),
            write.data.values.eq(self.values),
            write.data.mask.eq(self.mask),
            complete.maximum.eq(self.maximum),
            complete.present.eq(self.present),
            complete.words.eq(written + 1),
            complete.use.eq(self.use),
            row_queue.w_data.eq(complete),
            row_queue.w_en.eq(self.last),
        ]
        with m.If(self.write):
            m.d.sync += [
                write.addr.eq(write.addr + 1),
                written.eq(Mux(self.last, 0, written + 1)),
            ]

        # Words of complete rows; what is fetched here is never held up
        row = data.View(row_layout, row_queue.r_data)
        fetched = Signal(16)
        word, word_last, word_valid = Signal(row_layout), Signal(), Signal()
        chunk = Signal(range(max(chunks, 2)))
        frees = Signal()
        """The row is not wanted for another query."""
        m.d.comb += [
            self.word_end.eq(chunk == chunks - 1),
            self.starts.eq(fetched == 0),
            self.ends.eq(fetched + 1 == row.words),
            self.next_use.eq(row.use),
            self.fetch.eq(
                row_queue.r_rdy
                & self.may_fetch
                & (~self.starts | self.may_start)
                & (~word_valid | self.word_end)
            ),
            read.en.eq(self.fetch),
            row_queue.r_en.eq(self.fetch & self.ends & frees),
        ]
        with m.If(word_valid):
            m.d.sync += chunk.eq(Mux(self.word_end, 0, chunk + 1))
        with m.If(self.fetch):
            m.d.sync += [
                read.addr.eq(read.addr + 1),
                fetched.eq(Mux(self.ends, 0, fetched + 1)),
                word.eq(row),
                word_last.eq(self.ends),
                word_valid.eq(1),
            ]
        with m.Elif(self.word_end):
            m.d.sync += word_valid.eq(0)
        logits = Value.cast(read.data.values).word_select(chunk, lanes * LOGIT.bits)
        m.d.comb += [
            self.valid.eq(word_valid),
            self.logits.eq(logits),
            self.lane_mask.eq(self.word_mask.word_select(chunk, lanes)),
            self.row_end.eq(self.word_end & word_last),
            self.row_use.eq(word.use),
        ]
        if self.pairs:
            self._pairs(m, row, word, read, frees, write)
        else:
            m.d.comb += [
                frees.eq(1),
                self.word_mask.eq(read.data.mask),
                self.row_maximum.eq(word.maximum[0]),
            ]
        if self.index_bits:
            self._index(m, read, fetched, word)

        free = Signal(range(self.words + 1), init=self.words)
        slots = Signal(range(ROWS_IN_FLIGHT + 1), init=ROWS_IN_FLIGHT)
        reserved = Signal()
        m.d.comb += [
            self.reserve.ready.eq((slots != 0) & (free >= self.reserve.payload)),
            reserved.eq(self.reserve.valid & self.reserve.ready),
            self.idle.eq((slots == ROWS_IN_FLIGHT) & (free == self.words)),
        ]
        more_free, more_slots = free + (self.fetch & frees), slots + row_queue.r_en
        m.d.sync += [
            # both sums, since `reserved` comes late in the cycle
            free.eq(Mux(reserved, more_free - self.reserve.payload, more_free)),
            slots.eq(Mux(reserved, more_slots - 1, more_slots)),
        ]
        return m

    def _pairs(
        self,
        m: Module,
        row: data.View,
        word: data.View,
        read: memory.ReadPort,
        frees: Signal,
        write: memory.WritePort,
    ) -> None:
        """Once for each query of the row, over the same words."""
        again, query, word_query = Signal(), Signal(), Signal()
        begin = Signal.like(read.addr)
        m.d.comb += [
            write.data.second.eq(self.second),
            query.eq(again | ~row.present[0]),
            frees.eq(query | ~row.present[1]),
            self.word_mask.eq(
                read.data.mask & (read.data.second ^ ~word_query.replicate(self.banks))
            ),
            self.row_maximum.eq(Mux(word_query, word.maximum[1], word.maximum[0])),
        ]
        with m.If(self.fetch):
            m.d.sync += word_query.eq(query)
            with m.If(self.ends):
                m.d.sync += again.eq(~frees)
                with m.If(frees):
                    m.d.sync += begin.eq(read.addr + 1)
                with m.Else():
                    m.d.sync += read.addr.eq(begin)

    def _index(self, m: Module, read: memory.ReadPort, fetched: Signal, word: data.View) -> None:
        """Places of keys: those of the lists, or the number of the word."""
        number = Signal(self.index_bits)
        with m.If(self.fetch):
            m.d.sync += number.eq(fetched)
        m.d.comb += [self.word_index[bank].eq(number) for bank in range(self.banks)]
        if self.pairs:
            m.submodules.groups = groups = memory.Memory(
                shape=self.group.shape(), depth=self.words, init=[]
            )
            group_write, group_read = groups.write_port(), groups.read_port()
            m.d.comb += [
                group_write.en.eq(self.group_write),
                group_write.data.eq(self.group),
                group_read.en.eq(read.en),
                group_read.addr.eq(read.addr),
            ]
            with m.If(self.group_write):
                m.d.sync += group_write.addr.eq(group_write.addr + 1)
            with m.If(word.use.masked):
                m.d.comb += [
                    self.word_index[bank].eq(group_read.data[bank]) for bank in range(self.banks)
                ]
