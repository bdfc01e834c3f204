"""Writes the epilogue's results to memory and gives the credits."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import (
    ADDRESS_BITS,
    EPILOGUE_COMMAND,
    GIVE,
    GIVE_TOKEN,
    ROWS_BITS,
    place_layout,
    placed_layout,
    row_write_layout,
    token_write_layout,
)
from spec.formats import RESIDUAL
from spec.isa import PARTIAL_WORDS, Destination

__all__ = ["ResultWriter", "result_layout"]


def result_layout(lanes: int) -> data.StructLayout:
    """One result: `lanes` values, int16 to be written as two words if `wide`, else int8 as one."""
    return data.StructLayout({"values": data.ArrayLayout(RESIDUAL.bits, lanes), "wide": 1})


class ResultWriter(wiring.Component):
    """Walks one instruction's result addresses.

    Latency: a word is offered in the cycle after its result's transfer. Throughput: a word a
    cycle, results of one word each two cycles. Back-pressure: one result is kept.

    eager : takes the next result while the last word leaves (a path from the memories' `ready` to
        the results' `ready`), so that results of one word go at one a cycle

    Members
    -------
    command : the instruction whose results come; the next one in the cycle after `done`
    to_rows : its results go to row memory
    results : in order
    token_write, row_write : to the memories
    give, give_token : credits, in the cycle after the write has been taken
    done : the last word of the instruction is taken in this cycle

    With `places` only, for commands with `placed`:
    place : of each row; the writer stops at a bad one
    placed : the row is written to its place in this cycle
    bad_place : the next row has no place
    """

    def __init__(self, *, banks: int, lanes: int, eager: bool, places: bool = False) -> None:
        self._banks, self._lanes, self._eager = banks, lanes, eager
        self._places = places
        place_ports = {
            "place": In(stream.Signature(place_layout(banks))),
            "placed": Out(placed_layout(banks)),
            "bad_place": Out(1),
        }
        super().__init__(
            {
                "command": In(EPILOGUE_COMMAND),
                "to_rows": In(1),
                "results": In(stream.Signature(result_layout(lanes))),
                "token_write": Out(stream.Signature(token_write_layout(lanes))),
                "row_write": Out(stream.Signature(row_write_layout(banks, lanes, places))),
                "give": Out(GIVE),
                "give_token": Out(GIVE_TOKEN),
                "done": Out(1),
                **(place_ports if places else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Keep one result, write its words, step the address."""
        m = Module()
        command, lanes = self.command, self._lanes
        word_bits = lanes * 8

        held, left = Signal(2 * word_bits, reset_less=True), Signal(range(3))
        to_rows, taken, place_known = self.to_rows, Signal(), Signal(init=1)
        result = self.results.payload
        narrow = Cat(value[:8] for value in result.values)
        m.d.comb += [
            self.token_write.valid.eq((left != 0) & ~to_rows),
            self.row_write.valid.eq((left != 0) & to_rows & place_known),
            taken.eq(
                (left != 0)
                & Mux(to_rows, self.row_write.ready & place_known, self.token_write.ready)
            ),
            self.results.ready.eq((left == 0) | (taken & (left == 1) if self._eager else 0)),
        ]
        with m.If(taken):
            m.d.sync += [left.eq(left - 1), held.eq(held >> word_bits)]
        with m.If(self.results.valid & self.results.ready):
            m.d.sync += [
                left.eq(1 + result.wide),
                held.eq(Mux(result.wide, result.values.as_value(), narrow)),
            ]

        offset, bank = Signal(ADDRESS_BITS), Signal(range(self._banks))
        row, word = Signal(ROWS_BITS), Signal(4)
        skipped, own_end = Signal(4 + len(range(lanes)).bit_length()), Signal(9)
        """Channels of the head that lie in the words before; the lane after the head's last."""
        address = Signal(ADDRESS_BITS)
        m.d.comb += [
            own_end.eq(command.first_lane + command.head_dim),
            address.eq(command.target + offset + word),
            self.token_write.payload.address.eq(address),
            self.token_write.payload.data.eq(held[:word_bits]),
            self.token_write.payload.pc.eq(command.pc),
            self.row_write.payload.bank.eq(bank),
            self.row_write.payload.address.eq(address),
            self.row_write.payload.data.eq(held[:word_bits]),
            self.row_write.payload.pc.eq(command.pc),
        ]
        if self._places:
            self._place(m, held=left != 0, known=place_known, taken=taken)
        for lane in range(lanes):
            mine = (lane >= command.first_lane) & (lane + skipped < own_end)
            m.d.comb += self.token_write.payload.mask[lane].eq(~command.attention | mine)

        last_word = Signal(4)
        row_end = Signal()
        destination = command.destination
        wide = (destination == Destination.RESIDUAL) | (destination == Destination.WIDE)
        partial = destination == Destination.PARTIAL
        own = Mux(partial, PARTIAL_WORDS - 1, wide)
        m.d.comb += [
            last_word.eq(Mux(command.attention, command.head_words - 1, own)),
            row_end.eq(taken & (word == last_word)),
            self.done.eq(row_end & (row == command.rows - 1)),
        ]
        with m.If(taken):
            m.d.sync += [word.eq(word + 1), skipped.eq(skipped + lanes)]
        with m.If(row_end):
            m.d.sync += [word.eq(0), skipped.eq(0), row.eq(row + 1)]
            with m.If(to_rows & (bank != self._banks - 1)):
                m.d.sync += bank.eq(bank + 1)
            with m.Else():
                m.d.sync += [bank.eq(0), offset.eq(offset + command.target_stride)]
        with m.If(self.done):
            m.d.sync += [row.eq(0), bank.eq(0), offset.eq(0)]

        m.d.sync += [
            self.give.valid.eq(self.done),
            self.give_token.valid.eq(row_end & command.token_signal.valid),
        ]
        with m.If(taken):
            m.d.sync += [
                self.give.mask.eq(command.signal),
                self.give_token.index.eq(command.token_signal.index),
            ]
        return m

    def _place(self, m: Module, *, held: Value, known: Signal, taken: Value) -> None:
        """Rows of placed instructions go to their places.

        held : there is a result; known : it may be written; taken : it is
        """
        command, place = self.command, self.place.p
        to_place = Signal()
        m.d.comb += [
            to_place.eq(self.to_rows & command.placed),
            known.eq(~to_place | (self.place.valid & ~place.bad)),
            self.bad_place.eq(held & to_place & self.place.valid & place.bad),
            self.place.ready.eq(taken & to_place),
            self.placed.valid.eq(taken & to_place),
            self.placed.bank.eq(place.bank),
            self.placed.group.eq(place.group),
            self.placed.all_banks.eq(place.all_banks),
        ]
        with m.If(to_place):
            m.d.comb += [
                self.row_write.payload.bank.eq(place.bank),
                self.row_write.payload.all_banks.eq(place.all_banks),
                self.row_write.payload.address.eq(command.target + place.offset),
            ]
