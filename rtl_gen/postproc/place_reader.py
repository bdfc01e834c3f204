"""Fetches the places that the epilogue's rows go to, ahead of the rows."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl_gen.interfaces import (
    ADDRESS_BITS,
    EPILOGUE_COMMAND,
    PC_BITS,
    ROWS_BITS,
    origin_read_port,
    place_layout,
    token_read_port,
)
from spec.isa import Destination
from spec.masks import GROUP_BITS, POSITION, POSITION_BYTES

__all__ = ["PlaceReader"]

_COMMAND = data.StructLayout(
    {name: EPILOGUE_COMMAND[name].shape for name in ("pc", "rows", "target_stride", "positions")}
)


class PlaceReader(wiring.Component):
    """Walks the rows of placed instructions: origin, word of the list of places, entry.

    Golden twin: `golden_model.machine_lists.place_rows`. Each entry is `spec.masks.POSITION`.

    Latency: a place is there seven cycles after its command has entered, when memories are free.
    Throughput: within an instruction a place a cycle (`depth` 8), or 4 in 5 cycles (4); the next
    one's first place comes seven cycles after the last. Back-pressure: `depth` places are kept.

    banks, lanes : of the machine
    depth : places that can be on their way, a power of two
    slots : commands that can be in the epilogue
    max_positions : rows that can have a place

    Members
    -------
    command, entered : of an instruction that enters the epilogue; those without places are passed
        over
    origin : asks which token a row is
    memory : read port of token memory
    pc : instruction of these reads
    o : places of the rows, in order
    """

    def __init__(
        self, *, banks: int, lanes: int, depth: int, slots: int, max_positions: int
    ) -> None:
        self._banks, self._lanes = banks, lanes
        self._depth, self._slots, self._max_positions = depth, slots, max_positions
        super().__init__(
            {
                "command": In(EPILOGUE_COMMAND),
                "entered": In(1),
                "origin": Out(origin_read_port()),
                "memory": Out(token_read_port(lanes)),
                "pc": Out(PC_BITS),
                "o": Out(stream.Signature(place_layout(banks))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Commands, origins, words, places: a queue before each of the three reads' results."""
        m = Module()
        depth, per_word = self._depth, self._lanes // POSITION_BYTES
        m.submodules.commands = commands = fifo.SyncFIFO(width=_COMMAND.size, depth=self._slots)
        m.submodules.origins = origins = fifo.SyncFIFO(width=ROWS_BITS + 1, depth=depth)
        m.submodules.places = places = fifo.SyncFIFO(width=self.o.payload.shape().size, depth=depth)
        given, command = self.command, View(_COMMAND, commands.r_data)
        rows = ~given.attention & (given.destination == Destination.ROWS)
        m.d.comb += [
            commands.w_en.eq(self.entered & rows & given.placed),
            commands.w_data.eq(Cat(given[name] for name in _COMMAND.members)),
            self.pc.eq(command.pc),
        ]

        # Rows: claimed places are those that are there or on their way
        row, claimed, on_way = Signal(ROWS_BITS), Signal(range(depth + 1)), Signal(range(depth + 1))
        asked, came, taken = Signal(), Signal(), Signal()
        all_asked = row == command.rows
        m.d.comb += [
            self.origin.row.valid.eq(commands.r_rdy & ~all_asked & (claimed != depth)),
            self.origin.row.payload.eq(row),
            asked.eq(self.origin.row.valid & self.origin.row.ready),
            taken.eq(self.o.valid & self.o.ready),
            commands.r_en.eq(commands.r_rdy & all_asked & (on_way == 0)),
        ]
        with m.If(asked):
            m.d.sync += row.eq(row + 1)
        with m.If(commands.r_en):
            m.d.sync += row.eq(0)
        m.d.sync += [
            claimed.eq(claimed + asked - taken),
            on_way.eq(on_way + asked - came),
        ]

        # Words: of one command at a time, so its fields hold for all that is on the way
        beyond, entry_of = Signal(), Signal(ROWS_BITS + 1)
        with m.If(asked):
            m.d.sync += beyond.eq(row >= self._max_positions)
        request = self.memory.request
        place_bits = exact_log2(per_word)
        m.d.comb += [
            origins.w_en.eq(self.origin.valid),
            origins.w_data.eq(Cat(self.origin.origin, beyond)),
            request.valid.eq(origins.r_rdy),
            request.payload.eq(
                (command.positions + origins.r_data[place_bits:ROWS_BITS])[:ADDRESS_BITS]
            ),
            origins.r_en.eq(request.ready),
        ]
        with m.If(request.valid & request.ready):
            m.d.sync += entry_of.eq(origins.r_data)

        # Places
        entry, place, out_of_reach = Signal(POSITION), Signal(place_layout(self._banks)), Signal()
        m.d.sync += [
            came.eq(self.memory.valid),
            entry.eq(self.memory.data.word_select(entry_of[:place_bits], POSITION.size)),
            out_of_reach.eq(entry_of[ROWS_BITS]),
        ]
        wrong_bank = (entry.bank >= self._banks) & ~entry.all_banks
        m.d.comb += [
            place.bank.eq(entry.bank),
            place.group.eq(entry.group),
            place.all_banks.eq(entry.all_banks),
            place.offset.eq(entry.group[:GROUP_BITS] * command.target_stride),
            place.bad.eq(wrong_bank | entry.group[GROUP_BITS:].any() | out_of_reach),
            places.w_en.eq(came),
            places.w_data.eq(place),
            self.o.valid.eq(places.r_rdy),
            self.o.payload.eq(places.r_data),
            places.r_en.eq(self.o.ready),
        ]
        return m
