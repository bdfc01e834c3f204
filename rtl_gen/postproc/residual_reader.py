"""Fetches the residual words that the epilogue adds its results to."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ADDRESS_BITS, EPILOGUE_COMMAND, ROWS_BITS, token_read_port
from spec.formats import RESIDUAL

__all__ = ["ResidualReader"]


class ResidualReader(wiring.Component):
    """Reads the word pairs of one instruction's rows and hands them out group by group.

    A row may be read as soon as its accumulators are there. How many rows may be is counted and not
    found by comparing numbers of rows, since a request reaches all of token memory's clients.

    Latency: a group is there four cycles after its row is permitted, when memory is free.
    Throughput: a row in max(lanes / vector_lanes, 2) cycles. Back-pressure: a few pairs are kept.

    Members
    -------
    command : the instruction whose results are being written; only its rows are read, so nothing
        is read before all earlier instructions have been written
    adds : it has residuals
    changes, following : the next instruction's turn comes at the end of this cycle, from row 0 on
    walked : rows of `following` that were taken from the array before this cycle
    row_walked : in this cycle one is, of the instruction whose turn it is in the next cycle
    own : the accumulators of the row after the walked ones are there; once high, it stays
    memory : read port
    o : the next `vector_lanes` residuals
    soon : `o.valid` of the next cycle
    """

    def __init__(self, *, lanes: int, vector_lanes: int) -> None:
        self._lanes, self._vector_lanes = lanes, vector_lanes
        self._words = 4 if lanes >= 3 * vector_lanes else 8
        super().__init__(
            {
                "command": In(EPILOGUE_COMMAND),
                "adds": In(1),
                "changes": In(1),
                "following": In(EPILOGUE_COMMAND),
                "walked": In(ROWS_BITS),
                "row_walked": In(1),
                "own": In(1),
                "soon": Out(1),
                "memory": Out(token_read_port(lanes)),
                "o": Out(stream.Signature(data.ArrayLayout(signed(RESIDUAL.bits), vector_lanes))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A word queue, filled by requests and emptied by groups."""
        m = Module()
        groups = self._lanes // self._vector_lanes
        group_bits = self._vector_lanes * RESIDUAL.bits

        words = [
            Signal(self._lanes * 8, name=f"word_{n}", reset_less=True) for n in range(self._words)
        ]
        write, read_pair = Signal(range(self._words)), Signal(range(self._words // 2))
        received, claimed = Signal(range(self._words + 1)), Signal(range(self._words + 1))
        """Words in the queue; and those plus the ones asked for."""
        group = Signal(range(groups))
        pair = Array(Cat(words[n], words[n + 1]) for n in range(0, self._words, 2))[read_pair]
        choices = Array(pair[n * group_bits : (n + 1) * group_bits] for n in range(groups))
        m.d.comb += [
            self.o.payload.as_value().eq(choices[group]),
        ]

        taken = Signal()
        m.d.comb += taken.eq(self.o.valid & self.o.ready & (group == groups - 1))
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += group.eq(group + 1)
        with m.If(taken):
            m.d.sync += [group.eq(0), read_pair.eq(read_pair + 1)]
        with m.If(self.memory.valid):
            m.d.sync += [Array(words)[write].eq(self.memory.data), write.eq(write + 1)]

        # Rows that were walked and are not read: -1 is a row that was read ahead of its walk
        owed, some, none = Signal(signed(ROWS_BITS + 1)), Signal(), Signal(init=1)
        """And whether there are any, or just none."""
        address, second = Signal(ADDRESS_BITS), Signal()
        request = self.memory.request
        asked, row_asked = Signal(), Signal()
        m.d.comb += [
            request.valid.eq(self.adds & (claimed < self._words) & (some | (none & self.own))),
            request.payload.eq(address),
            asked.eq(request.valid & request.ready),
            row_asked.eq(asked & second),
        ]
        with m.If(asked):
            m.d.sync += [
                second.eq(~second),
                address.eq(address + Mux(second, self.command.target_stride - 1, 1)),
            ]
        with m.If(self.changes):
            none_walked = (self.walked == 0) & ~self.row_walked
            m.d.sync += [
                address.eq(self.following.target),
                owed.eq(self.walked + self.row_walked),
                some.eq(~none_walked),
                none.eq(none_walked),
            ]
        with m.Elif(self.row_walked & ~row_asked):
            m.d.sync += [owed.eq(owed + 1), some.eq(some | none), none.eq(~(some | none))]
        with m.Elif(row_asked & ~self.row_walked):
            m.d.sync += [owed.eq(owed - 1), some.eq(owed > 1), none.eq(owed == 1)]

        used = taken << 1
        still = Signal.like(received)
        m.d.comb += [
            still.eq(received + self.memory.valid - used),
            self.soon.eq(still >= 2),
        ]
        m.d.sync += [
            received.eq(still),
            self.o.valid.eq(self.soon),
            claimed.eq(claimed + asked - used),
        ]
        return m
