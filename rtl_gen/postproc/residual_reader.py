"""Fetches the residual words that the epilogue adds its results to."""

from amaranth.hdl import Array, Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ADDRESS_BITS, EPILOGUE_COMMAND, ROWS_BITS, token_read_port
from spec.formats import RESIDUAL

__all__ = ["ResidualReader"]


class ResidualReader(wiring.Component):
    """Reads the word pairs of one instruction's rows and hands them out group by group.

    Latency: a group is there four cycles after its row is permitted, when memory is free.
    Throughput: a row in max(lanes / vector_lanes, 2) cycles. Back-pressure: a few pairs are kept.

    Members
    -------
    command : the instruction whose results are being written; only its rows are read, so nothing
        is read before all earlier instructions have been written
    permit : row `row` may be read; once high for a row, it stays
    row : the row to be read next
    done : the instruction ends in this cycle: the next one starts at row 0
    memory : read port
    o : the next `vector_lanes` residuals
    """

    def __init__(self, *, lanes: int, vector_lanes: int) -> None:
        self._lanes, self._vector_lanes = lanes, vector_lanes
        self._words = 4 if lanes >= 3 * vector_lanes else 8
        super().__init__(
            {
                "command": In(EPILOGUE_COMMAND),
                "permit": In(1),
                "row": Out(ROWS_BITS),
                "done": In(1),
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
            self.o.valid.eq(received >= 2),
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

        offset, second = Signal(ADDRESS_BITS), Signal()
        request = self.memory.request
        asked = Signal()
        m.d.comb += [
            request.valid.eq(self.permit & (claimed < self._words)),
            request.payload.eq(self.command.target + offset + second),
            asked.eq(request.valid & request.ready),
        ]
        with m.If(asked):
            m.d.sync += second.eq(~second)
            with m.If(second):
                m.d.sync += [
                    offset.eq(offset + self.command.target_stride),
                    self.row.eq(self.row + 1),
                ]
        with m.If(self.done):
            m.d.sync += [offset.eq(0), self.row.eq(0)]
        used = taken << 1
        m.d.sync += [
            received.eq(received + self.memory.valid - used),
            claimed.eq(claimed + asked - used),
        ]
        return m
