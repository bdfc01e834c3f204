"""Fetches the sums that an instruction of the same column block left in token memory."""

from amaranth.hdl import Array, Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ADDRESS_BITS, EPILOGUE_COMMAND, ROWS_BITS, token_read_port
from spec.formats import ACC, RESIDUAL
from spec.isa import PARTIAL_WORDS

__all__ = ["PartialReader"]


class PartialReader(wiring.Component):
    """Reads the sums of one instruction's rows and hands them out group by group.

    With `broadcast`, those of row 0 are read again for every row.

    Latency: a group is there three cycles after its words are permitted, when memory is free.
    Throughput: two words in three cycles. Back-pressure: two words (or two groups) are kept.

    Members
    -------
    command : the instruction whose results are being written; only its sums are read, so nothing
        is read before all earlier instructions have been written
    accumulates : it adds to sums
    changes, following : the next instruction's turn comes at the end of this cycle, from row 0 on
    memory : read port
    o : the next `vector_lanes` sums
    """

    def __init__(self, *, lanes: int, vector_lanes: int) -> None:
        self._lanes, self._vector_lanes = lanes, vector_lanes
        super().__init__(
            {
                "command": In(EPILOGUE_COMMAND),
                "accumulates": In(1),
                "changes": In(1),
                "following": In(EPILOGUE_COMMAND),
                "memory": Out(token_read_port(lanes)),
                "o": Out(stream.Signature(data.ArrayLayout(signed(ACC.bits), vector_lanes))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A queue of two units: as many words as hold whole groups."""
        m = Module()
        group_bits = self._vector_lanes * ACC.bits
        unit_words = max(1, group_bits // (self._lanes * 8))
        unit_groups = unit_words * self._lanes * 8 // group_bits
        capacity = 2 * unit_words

        words = [
            Signal(self._lanes * 8, name=f"word_{n}", reset_less=True) for n in range(capacity)
        ]
        write, unit, group = Signal(range(capacity)), Signal(), Signal(range(max(2, unit_groups)))
        received, claimed = Signal(range(capacity + 1)), Signal(range(capacity + 1))
        """Words in the queue; and those plus the ones asked for."""
        units = Array(Cat(words[n : n + unit_words]) for n in range(0, capacity, unit_words))
        halves = Signal(group_bits)
        lanes, bits = self._vector_lanes, RESIDUAL.bits
        m.d.comb += [
            halves.eq(units[unit].word_select(group, group_bits)),
            self.o.payload.as_value().eq(
                Cat(
                    halves.word_select(lane + half * lanes, bits)
                    for lane in range(lanes)
                    for half in range(2)
                )
            ),
        ]

        moved, taken = Signal(), Signal()
        m.d.comb += [
            moved.eq(self.o.valid & self.o.ready),
            taken.eq(moved & (group == unit_groups - 1)),
        ]
        with m.If(moved):
            m.d.sync += group.eq(group + 1)
        with m.If(taken):
            m.d.sync += [group.eq(0), unit.eq(~unit)]
        with m.If(self.memory.valid):
            m.d.sync += [Array(words)[write].eq(self.memory.data), write.eq(write + 1)]

        address, word = Signal(ADDRESS_BITS), Signal(range(PARTIAL_WORDS))
        rows, some = Signal(ROWS_BITS), Signal()
        """Rows that are left, and whether any is."""
        request = self.memory.request
        asked = Signal()
        m.d.comb += [
            request.valid.eq(self.accumulates & some & (claimed < capacity)),
            request.payload.eq(address),
            asked.eq(request.valid & request.ready),
        ]
        with m.If(asked):
            m.d.sync += [address.eq(address + 1), word.eq(word + 1)]
            with m.If(word == PARTIAL_WORDS - 1):
                m.d.sync += [rows.eq(rows - 1), some.eq(rows != 1)]
                with m.If(self.command.broadcast):
                    m.d.sync += address.eq(self.command.partial)
        with m.If(self.changes):
            m.d.sync += [
                address.eq(self.following.partial),
                rows.eq(self.following.rows),
                some.eq(1),
            ]
        used = Signal(range(unit_words + 1))
        with m.If(taken):
            m.d.comb += used.eq(unit_words)
        still = Signal.like(received)
        m.d.comb += still.eq(received + self.memory.valid - used)
        m.d.sync += [
            received.eq(still),
            self.o.valid.eq(still >= unit_words),
            claimed.eq(claimed + asked - used),
        ]
        return m
