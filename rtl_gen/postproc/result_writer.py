"""Writes the epilogue's results to memory and gives the credits."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import (
    ADDRESS_BITS,
    EPILOGUE_COMMAND,
    GIVE,
    GIVE_TOKEN,
    place_layout,
    placed_layout,
    row_write_layout,
    token_write_layout,
)
from spec.formats import RESIDUAL
from spec.isa import PARTIAL_WORDS, Destination

__all__ = ["ResultWriter", "result_layout"]


def result_layout(lanes: int) -> data.StructLayout:
    """One result: `lanes` values, int16 to be written as two words if `wide`, else int8 as one.

    to_rows : to row memory
    """
    values = data.ArrayLayout(RESIDUAL.bits, lanes)
    return data.StructLayout({"values": values, "wide": 1, "to_rows": 1})


class ResultWriter(wiring.Component):
    """Walks one instruction's result addresses.

    Latency: a word is offered in the cycle after its result's transfer. Throughput: a word a
    cycle, results of one word each two cycles. Back-pressure: one result is kept.

    eager : takes the next result while the last word leaves (a path from the memories' `ready` to
        the results' `ready`), so that results of one word go at one a cycle

    Members
    -------
    command : the instruction whose results come; its `rows` are those that are left
    changes, following : the next instruction's turn comes at the end of this cycle
    results : in order
    empties : no word waits in the next cycle: it takes a result
    token_write, row_write : to the memories
    give, give_token : credits, in the cycle after the write has been taken
    row_done : the last word of a row is taken in this cycle
    done : so is that of the instruction; the next one's turn comes at once

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
                "changes": In(1),
                "following": In(EPILOGUE_COMMAND),
                "results": In(stream.Signature(result_layout(lanes))),
                "token_write": Out(stream.Signature(token_write_layout(lanes))),
                "row_write": Out(stream.Signature(row_write_layout(banks, lanes, places))),
                "give": Out(GIVE),
                "give_token": Out(GIVE_TOKEN),
                "empties": Out(1),
                "row_done": Out(1),
                "done": Out(1),
                **(place_ports if places else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Keep one result, write its words, step the address."""
        m = Module()
        command, lanes = self.command, self._lanes
        word_bits = lanes * 8

        held, second = Signal(2 * word_bits, reset_less=True), Signal()
        to_token, to_rows = Signal(), Signal()
        """A word waits for this memory; and after it a `second` one."""
        free, taken, place_known = Signal(), Signal(), Signal(init=1)
        leaves, starts = Signal(), Signal()
        result = self.results.payload
        narrow = Cat(value[:8] for value in result.values)
        m.d.comb += [
            self.token_write.valid.eq(to_token),
            self.row_write.valid.eq(to_rows & place_known),
            taken.eq(
                (to_token & self.token_write.ready) | (to_rows & place_known & self.row_write.ready)
            ),
            free.eq(~(to_token | to_rows)),
            leaves.eq(taken & ~second),
            self.results.ready.eq(free | (leaves if self._eager else 0)),
            starts.eq(self.results.valid & self.results.ready),
            self.empties.eq(~starts & (free | leaves)),
        ]
        with m.If(taken):
            m.d.sync += [second.eq(0), held.eq(held >> word_bits)]
        with m.If(leaves):
            m.d.sync += [to_token.eq(0), to_rows.eq(0)]
        with m.If(starts):
            m.d.sync += [
                to_token.eq(~result.to_rows),
                to_rows.eq(result.to_rows),
                second.eq(result.wide),
                held.eq(Mux(result.wide, result.values.as_value(), narrow)),
            ]

        bank, word = Signal(range(self._banks)), Signal(4)
        base, address = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        """Of the row, and of the word."""
        skipped, own_end = Signal(4 + len(range(lanes)).bit_length()), Signal(9)
        """Channels of the head that lie in the words before; the lane after the head's last."""
        m.d.comb += [
            own_end.eq(command.first_lane + command.head_dim),
            self.token_write.payload.address.eq(address),
            self.token_write.payload.data.eq(held[:word_bits]),
            self.token_write.payload.pc.eq(command.pc),
            self.row_write.payload.bank.eq(bank),
            self.row_write.payload.address.eq(address),
            self.row_write.payload.data.eq(held[:word_bits]),
            self.row_write.payload.pc.eq(command.pc),
        ]
        if self._places:
            self._place(m, held=to_rows, known=place_known, taken=taken)
        for lane in range(lanes):
            mine = (lane >= command.first_lane) & (lane + skipped < own_end)
            m.d.comb += self.token_write.payload.mask[lane].eq(~command.attention | mine)

        last_word = Signal(4)
        destination = command.destination
        wide = (destination == Destination.RESIDUAL) | (destination == Destination.WIDE)
        partial = destination == Destination.PARTIAL
        own = Mux(partial, PARTIAL_WORDS - 1, wide)
        m.d.comb += [
            last_word.eq(Mux(command.attention, command.head_words - 1, own)),
            self.row_done.eq(taken & (word == last_word)),
            self.done.eq(self.row_done & (command.rows == 1)),
        ]
        next_base, next_bank = Signal(ADDRESS_BITS), Signal(range(self._banks))
        with m.If(to_rows & (bank != self._banks - 1)):
            m.d.comb += [next_base.eq(base), next_bank.eq(bank + 1)]
        with m.Else():
            m.d.comb += next_base.eq(base + command.target_stride)
        with m.If(taken):
            m.d.sync += [
                word.eq(word + 1),
                skipped.eq(skipped + lanes),
                address.eq(address + 1),
            ]
        with m.If(self.row_done):
            m.d.sync += [
                word.eq(0),
                skipped.eq(0),
                base.eq(next_base),
                address.eq(next_base),
                bank.eq(next_bank),
            ]
        with m.If(self.changes):
            target = self.following.target
            m.d.sync += [bank.eq(0), base.eq(target), address.eq(target)]

        m.d.sync += [
            self.give.valid.eq(self.done),
            self.give_token.valid.eq(self.row_done & command.token_signal.valid),
        ]
        with m.If(taken):
            m.d.sync += [
                self.give.mask.eq(command.signal),
                self.give_token.index.eq(command.token_signal.index),
            ]
        return m

    def _place(self, m: Module, *, held: Value, known: Signal, taken: Value) -> None:
        """Rows of placed instructions go to their places.

        held : there is a row; known : it may be written; taken : it is
        """
        command, place = self.command, self.place.p
        to_place = Signal()
        m.d.comb += [
            to_place.eq(held & command.placed),
            known.eq(~to_place | (self.place.valid & ~place.bad)),
            self.bad_place.eq(to_place & self.place.valid & place.bad),
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
