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

    Latency: a place is there `LATENCY` cycles after its command has entered, when memories are
    free. Throughput: `depth` places in `LOOP` cycles, at most one a cycle, also across
    instructions. Back-pressure: `depth` places are kept.

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

    LATENCY = 6
    LOOP = 6
    """Cycles from a claim to the next claim of the same place in the queue."""

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
        """Commands, words to be read, places: a queue of each, and reads between them."""
        m = Module()
        depth, place_bits = self._depth, exact_log2(self._lanes // POSITION_BYTES)
        wanted = data.StructLayout(
            {
                "address": ADDRESS_BITS,
                "entry": place_bits,
                "beyond": 1,
                **{name: _COMMAND[name].shape for name in ("target_stride", "pc")},
            }
        )
        m.submodules.commands = commands = fifo.SyncFIFO(width=_COMMAND.size, depth=self._slots)
        m.submodules.words = words = fifo.SyncFIFO(width=wanted.size, depth=depth)
        m.submodules.places = places = fifo.SyncFIFO(
            width=place_layout(self._banks).size, depth=depth
        )
        given, command = self.command, View(_COMMAND, commands.r_data)
        rows = ~given.attention & (given.destination == Destination.ROWS)
        m.d.comb += [
            commands.w_en.eq(self.entered & rows & given.placed),
            commands.w_data.eq(Cat(given[name] for name in _COMMAND.members)),
        ]

        # Rows: claimed places are those that are there or on their way
        row, claimed = Signal(ROWS_BITS), Signal(range(depth + 1))
        asked, taken, asked_for, beyond = Signal(), Signal(), Signal(_COMMAND), Signal()
        m.d.comb += [
            self.origin.row.valid.eq(commands.r_rdy & (claimed != depth)),
            self.origin.row.payload.eq(row),
            asked.eq(self.origin.row.valid & self.origin.row.ready),
            taken.eq(self.o.valid & self.o.ready),
            commands.r_en.eq(asked & (row == command.rows - 1)),
        ]
        with m.If(asked):
            m.d.sync += [
                row.eq(row + 1),
                asked_for.eq(command),
                beyond.eq(row >= self._max_positions),
            ]
            with m.If(commands.r_en):
                m.d.sync += row.eq(0)
        m.d.sync += claimed.eq(claimed + asked - taken)

        # Words of the list
        word, next_word, came_for = Signal(wanted), Signal(wanted), Signal(wanted)
        request, origin = self.memory.request, self.origin.origin
        m.d.comb += [
            word.address.eq(asked_for.positions + (origin >> place_bits)),
            word.entry.eq(origin[:place_bits]),
            word.beyond.eq(beyond),
            word.target_stride.eq(asked_for.target_stride),
            word.pc.eq(asked_for.pc),
            words.w_en.eq(self.origin.valid),
            words.w_data.eq(word),
            next_word.eq(words.r_data),
            self.pc.eq(next_word.pc),
            request.valid.eq(words.r_rdy),
            request.payload.eq(next_word.address),
            words.r_en.eq(request.ready),
        ]
        with m.If(request.valid & request.ready):
            m.d.sync += came_for.eq(next_word)

        # Places
        came, entry, beyond_all, stride = (
            Signal(),
            Signal(POSITION),
            Signal(),
            Signal(_COMMAND["target_stride"].shape),
        )
        place = Signal(place_layout(self._banks))
        m.d.sync += [
            came.eq(self.memory.valid),
            entry.eq(self.memory.data.word_select(came_for.entry, POSITION.size)),
            beyond_all.eq(came_for.beyond),
            stride.eq(came_for.target_stride),
        ]
        wrong_bank = (entry.bank >= self._banks) & ~entry.all_banks
        m.d.comb += [
            place.bank.eq(entry.bank),
            place.group.eq(entry.group),
            place.all_banks.eq(entry.all_banks),
            place.offset.eq(entry.group[:GROUP_BITS] * stride),
            place.bad.eq(wrong_bank | entry.group[GROUP_BITS:].any() | beyond_all),
            places.w_en.eq(came),
            places.w_data.eq(place),
            self.o.valid.eq(places.r_rdy),
            self.o.payload.eq(places.r_data),
            places.r_en.eq(self.o.ready),
        ]
        return m
