"""Streams token-memory words to the array, row by row, behind their credits."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ADDRESS_BITS, OPTIONAL_SEMAPHORE, ROWS_BITS, token_read_port

__all__ = ["OPERAND_COMMAND", "OperandReader", "operand_layout"]

OPERAND_COMMAND = data.StructLayout(
    {
        "address": 16,
        "stride": 8,
        "words": 16,
        "rows": ROWS_BITS,
        "token_wait": OPTIONAL_SEMAPHORE,
    }
)
"""`rows` rows of `words` words each: row t at address + t * stride."""


def operand_layout(lanes: int) -> data.StructLayout:
    """One word of a row; `last` marks the row's last word."""
    return data.StructLayout({"data": lanes * 8, "last": 1})


class OperandReader(wiring.Component):
    """Reads ahead of the array by `depth` words; takes one credit a row where a row waits.

    Latency: three cycles from `start` to the first word; one word a cycle while the port grants.

    Members
    -------
    start, command : begin reading, at least one row; only when not `active`.
    take_token : stream of semaphore indices to `Semaphores`.
    read : the token-memory port.
    words : the stream of words.
    active : rows remain to be read.
    denied : a word is wanted and the port went to somebody else.
    """

    def __init__(self, *, lanes: int, depth: int = 4) -> None:
        self._lanes = lanes
        self._depth = depth
        super().__init__(
            {
                "start": In(1),
                "command": In(OPERAND_COMMAND),
                "take_token": Out(stream.Signature(4)),
                "read": Out(token_read_port(lanes)),
                "words": Out(stream.Signature(operand_layout(lanes))),
                "active": Out(1),
                "denied": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        layout = operand_layout(self._lanes)
        m.submodules.buffer = buffer = fifo.SyncFIFO(width=layout.size, depth=self._depth)

        command = Signal(OPERAND_COMMAND)
        row_address = Signal(ADDRESS_BITS)
        address = Signal(ADDRESS_BITS)
        words_left = Signal(16)
        rows_left = Signal(ROWS_BITS)
        credited = Signal()
        in_flight = Signal()
        in_flight_last = Signal()
        granted = Signal()
        last_word = words_left == 1
        m.d.comb += [
            self.take_token.payload.eq(command.token_wait.index),
            self.take_token.valid.eq(self.active & ~credited),
            self.read.request.payload.eq(address),
            self.read.request.valid.eq(
                self.active & credited & (buffer.level + in_flight < self._depth)
            ),
            granted.eq(self.read.request.valid & self.read.request.ready),
            self.denied.eq(self.read.request.valid & ~self.read.request.ready),
            buffer.w_data.eq(Cat(self.read.data, in_flight_last)),
            buffer.w_en.eq(in_flight & self.read.valid),
            self.words.payload.eq(buffer.r_data),
            self.words.valid.eq(buffer.r_rdy),
            buffer.r_en.eq(self.words.ready),
        ]
        m.d.sync += [in_flight.eq(granted), in_flight_last.eq(last_word)]
        with m.If(self.take_token.valid & self.take_token.ready):
            m.d.sync += credited.eq(1)
        with m.If(granted):
            m.d.sync += [address.eq(address + 1), words_left.eq(words_left - 1)]
            with m.If(last_word):
                m.d.sync += [
                    row_address.eq(row_address + command.stride),
                    address.eq(row_address + command.stride),
                    words_left.eq(command.words),
                    rows_left.eq(rows_left - 1),
                    self.active.eq(rows_left != 1),
                    credited.eq(~command.token_wait.valid),
                ]
        with m.If(~self.active):
            # all the time, since `start` comes late in the cycle
            m.d.sync += [
                self.active.eq(self.start),
                command.eq(self.command),
                row_address.eq(self.command.address),
                address.eq(self.command.address),
                words_left.eq(self.command.words),
                rows_left.eq(self.command.rows),
                credited.eq(~self.command.token_wait.valid),
            ]
        return m
