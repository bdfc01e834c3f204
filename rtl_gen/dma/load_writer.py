"""The data side of the loader: beats to words, words to their memories."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from rtl_gen.dma.axi import read_data_layout
from rtl_gen.interfaces import (
    ADDRESS_BITS,
    ERROR,
    GIVE,
    GIVE_TOKEN,
    OPTIONAL_SEMAPHORE,
    PC_BITS,
    TABLE_ENTRY,
    row_write_layout,
    table_write_layout,
    token_write_layout,
)
from spec.formats import REQUANTIZE
from spec.isa import Window
from spec.registers import Error
from spec.semaphores import SEMAPHORE_COUNT

__all__ = ["LOAD", "Kind", "LoadWriter", "group_ports"]

_ENTRY_BITS = REQUANTIZE.entry_bytes * 8


class Kind(enum.Enum, shape=2):
    """What a load fills."""

    WEIGHTS = 0
    """a column table, then `rows` matrix rows; with several head groups `words` times"""
    TOKENS = 1
    """`rows` rows of `words` words, `stride` apart"""
    NORM = 2
    """`rows` words of LayerNorm entries"""
    NOTHING = 3
    """only credits are given"""


LOAD = data.StructLayout(
    {
        "pc": PC_BITS,
        "kind": Kind,
        "window": Window,
        "target": 16,
        "table": 16,
        "rows": 16,
        "words": 8,
        "stride": 16,
        "signal": SEMAPHORE_COUNT,
        "token_signal": OPTIONAL_SEMAPHORE,
    }
)
"""A checked load instruction whose data have been requested."""


def _entry(bits: Value) -> Value:
    """Bits of a TABLE_ENTRY from its 8 bytes in DRAM."""
    fields = (
        bits[: REQUANTIZE.addend_bits],
        bits[32 : 32 + REQUANTIZE.multiplier_bits],
        bits[48 : 48 + REQUANTIZE.shift_bits],
    )
    entry = Cat(*fields)
    assert len(entry) == TABLE_ENTRY.size
    return entry


def group_ports(head_groups: int) -> dict[str, wiring.Member]:
    """For which head group row and column table writes are; none if there is one only."""
    names = ("row_group", "column_group") if head_groups > 1 else ()
    return {name: Out(range(head_groups)) for name in names}


class LoadWriter(wiring.Component):
    """Writes the data of one load after the other; with `skips`, some have none.

    Throughput: one beat a cycle while writes are accepted. Back-pressure: one finished row or
    token word waits in a register while the next is assembled; table words wait on the bus, also
    for that register (a table word of a single beat so loses a cycle after a row).
    Error TOKEN_ADDRESS: a word at or beyond `token_words`; it is not written, and all stops.

    Members
    -------
    load : stream of LOAD, taken with its last beat
    data : beats from the read channel
    row_write, token_write, column_write, norm_write : streams of writes
    row_group, column_group : head group of these two (with several head groups only)
    give : with an instruction's last write
    give_token : with the last write of each token row
    error : holds
    accepted, window : a beat was accepted in this cycle, for this window
    busy : a finished word waits
    """

    def __init__(
        self,
        *,
        banks: int,
        lanes: int,
        bus_bits: int,
        vector_lanes: int,
        norm_lanes: int,
        token_words: int,
        head_groups: int = 1,
        skips: bool = False,
    ) -> None:
        self._skips = skips
        self._head_groups = head_groups
        self._banks = banks
        self._lanes = lanes
        self._bus_bits = bus_bits
        self._vector_lanes = vector_lanes
        self._norm_lanes = norm_lanes
        self._token_words = token_words
        super().__init__(
            {
                "load": In(stream.Signature(LOAD)),
                "data": In(stream.Signature(read_data_layout(bus_bits))),
                "row_write": Out(stream.Signature(row_write_layout(banks, lanes))),
                "token_write": Out(stream.Signature(token_write_layout(lanes))),
                "column_write": Out(stream.Signature(table_write_layout(vector_lanes))),
                "norm_write": Out(stream.Signature(table_write_layout(norm_lanes))),
                "give": Out(GIVE),
                "give_token": Out(GIVE_TOKEN),
                "error": Out(ERROR),
                "accepted": Out(1),
                "window": Out(Window),
                "busy": Out(1),
                **group_ports(head_groups),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        bus_bits = self._bus_bits
        load = self.load.p
        word_beats = self._lanes * 8 // bus_bits
        column_beats = self._vector_lanes * _ENTRY_BITS // bus_bits
        norm_beats = self._norm_lanes * _ENTRY_BITS // bus_bits
        most_beats = max(word_beats, column_beats, norm_beats)

        # Where the next word goes
        weights_phase = Signal()
        """The column table of this LOAD_WEIGHTS is complete."""
        row = Signal(16)
        word = Signal(8)
        start = Signal(ADDRESS_BITS)
        """Of the row, from `target` on."""
        tokens = load.kind == Kind.TOKENS
        norm = load.kind == Kind.NORM
        column = (load.kind == Kind.WEIGHTS) & ~weights_phase
        table = Signal()
        column_groups = self._lanes // self._vector_lanes
        norm_groups = self._lanes // self._norm_lanes
        bank_bits = ceil_log2(self._banks)
        bank = row[:bank_bits]
        last_of_row = ~tokens | (word + 1 == load.words)
        last_row = Mux(column, row == column_groups - 1, row + 1 == load.rows)
        group_done = last_of_row & last_row & ~column
        group = Signal(range(self._head_groups))
        more_groups = (load.kind == Kind.WEIGHTS) & (group + 1 != load.words)
        last_of_load = group_done & ~more_groups if self._head_groups > 1 else group_done
        address = Signal(ADDRESS_BITS)
        m.d.comb += [
            table.eq(column | norm),
            address.eq(load.target + start + word),
        ]

        # Beats to words
        beat = Signal(range(max(most_beats, 2)))
        last_beat = Signal()
        kept = [Signal(bus_bits, name=f"beat_{index}") for index in range(most_beats - 1)]
        m.d.comb += last_beat.eq(
            beat == Mux(column, column_beats - 1, Mux(norm, norm_beats - 1, word_beats - 1))
        )

        def assembled(beats: int) -> Value:
            return Cat(*kept[: beats - 1], self.data.p.data)

        held = Signal()
        nothing = load.kind == Kind.NOTHING if self._skips else Const(0, 1)
        taken = Signal()
        """A beat."""
        word_taken = Signal()
        m.d.comb += [
            taken.eq(self.data.valid & self.data.ready),
            word_taken.eq(taken & last_beat),
            self.accepted.eq(taken),
            self.window.eq(load.window),
            self.load.ready.eq((word_taken & last_of_load) | (nothing & ~held)),
        ]
        if kept:
            with m.If(taken):
                m.d.sync += Array(kept)[beat].eq(self.data.p.data)
                m.d.sync += beat.eq(Mux(last_beat, 0, beat + 1))
        with m.If(word_taken):
            with m.If(~last_of_row):
                m.d.sync += word.eq(word + 1)
            with m.Else():
                m.d.sync += [word.eq(0), row.eq(Mux(last_row, 0, row + 1))]
                with m.If(last_row):
                    m.d.sync += [start.eq(0), weights_phase.eq(column)]
                with m.Elif(tokens):
                    m.d.sync += start.eq(start + load.stride)
                with m.Elif(~table & (bank == self._banks - 1)):
                    m.d.sync += start.eq(start + 1)

        # Row and token words, through a register
        held_tokens = Signal()
        held_last = Signal()
        held_row_last = Signal()
        held_signal = Signal(SEMAPHORE_COUNT)
        held_token_signal = Signal(OPTIONAL_SEMAPHORE)
        held_bank = Signal(range(self._banks))
        held_address = Signal(ADDRESS_BITS)
        held_pc = Signal(PC_BITS)
        held_data = Signal(self._lanes * 8)
        fits = Signal(init=1)
        written = Signal()
        m.d.comb += [
            self.busy.eq(held),
            self.row_write.valid.eq(held & ~held_tokens),
            self.row_write.p.bank.eq(held_bank),
            self.row_write.p.address.eq(held_address),
            self.row_write.p.data.eq(held_data),
            self.row_write.p.pc.eq(held_pc),
            self.token_write.valid.eq(held & held_tokens & fits),
            self.token_write.p.address.eq(held_address),
            self.token_write.p.data.eq(held_data),
            self.token_write.p.mask.eq(Const(-1, self._lanes)),
            self.token_write.p.pc.eq(held_pc),
            written.eq(
                held & fits & Mux(held_tokens, self.token_write.ready, self.row_write.ready)
            ),
            self.error.valid.eq(held & ~fits),
            self.error.code.eq(Mux(self.error.valid, Error.TOKEN_ADDRESS.value, Error.NONE.value)),
            self.error.pc.eq(held_pc),
        ]
        if self._head_groups > 1:
            m.d.comb += self.column_group.eq(group)
            with m.If(word_taken & ~table):
                m.d.sync += self.row_group.eq(group)
            with m.If(word_taken & group_done):
                m.d.sync += group.eq(Mux(more_groups, group + 1, 0))
        with m.If(word_taken & ~table):
            m.d.sync += [
                held.eq(1),
                held_tokens.eq(tokens),
                held_last.eq(last_of_load),
                held_row_last.eq(last_of_row),
                held_signal.eq(load.signal),
                held_token_signal.eq(load.token_signal),
                held_bank.eq(bank),
                held_address.eq(address),
                fits.eq(~tokens | (address < self._token_words)),
                held_pc.eq(load.pc),
                held_data.eq(assembled(word_beats)),
            ]
        with m.Elif(written):
            m.d.sync += held.eq(0)

        # Table words, from the bus; after all earlier words
        table_valid = Signal()
        m.d.comb += table_valid.eq(self.load.valid & self.data.valid & last_beat & ~held)
        for port, mine, entries, groups, number in (
            (self.column_write, column, self._vector_lanes, column_groups, load.table),
            (self.norm_write, norm, self._norm_lanes, norm_groups, load.table),
        ):
            bits = assembled(entries * _ENTRY_BITS // bus_bits)
            m.d.comb += [
                port.valid.eq(table_valid & mine),
                port.p.address.eq((number << ceil_log2(groups)) + row),
                Value.cast(port.p.data).eq(
                    Cat(_entry(bits.word_select(e, _ENTRY_BITS)) for e in range(entries))
                ),
            ]
        table_ready = Mux(norm, self.norm_write.ready, self.column_write.ready) & ~held
        m.d.comb += self.data.ready.eq(
            self.load.valid & ~nothing & (~last_beat | Mux(table, table_ready, ~held | written))
        )

        # Credits
        norm_done = (word_taken & norm & last_row) | (self.load.valid & nothing & ~held)
        m.d.comb += [
            self.give.valid.eq((written & held_last) | norm_done),
            self.give.mask.eq(Mux(norm_done, load.signal, held_signal)),
            self.give_token.valid.eq(
                written & held_tokens & held_row_last & held_token_signal.valid
            ),
            self.give_token.index.eq(held_token_signal.index),
        ]
        return m
