"""What happens to the array's accumulators: requantize, activation, residual, memory."""

from itertools import pairwise

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.interfaces import (
    EPILOGUE_COMMAND,
    ERROR,
    GIVE,
    GIVE_TOKEN,
    PC_BITS,
    ROW_SCALE,
    ROWS_BITS,
    accumulators_layout,
    origin_read_port,
    placed_layout,
    row_write_layout,
    table_read_port,
    token_read_port,
    token_write_layout,
)
from rtl_gen.postproc.command_slots import CommandSlots
from rtl_gen.postproc.epilogue_lane import EpilogueLane
from rtl_gen.postproc.partial_reader import PartialReader
from rtl_gen.postproc.place_reader import PlaceReader
from rtl_gen.postproc.residual_reader import ResidualReader
from rtl_gen.postproc.result_kind import is_gelu, is_residual, is_rows, is_wide
from rtl_gen.postproc.result_threshold import ResultThreshold
from rtl_gen.postproc.result_writer import ResultWriter, result_layout
from spec.formats import ACC, ACT, RESIDUAL
from spec.isa import Activation
from spec.registers import Error

__all__ = ["Epilogue"]


class Epilogue(wiring.Component):
    """Takes the array's results, `vector_lanes` channels a cycle, and writes them.

    Golden twins: `requantize`, `gelu_activation`, `residual_add` of `golden_model.units`.

    Every result takes the same way: requantize to int16, GELU (or its identity), requantize (or
    times one), then zero point and clip or the residual, then its word or word pair. Sums that are
    to be kept go this way in halves of int16, unchanged. Up to
    `SLOTS` instructions are on this way at a time; their commands stay in slots, and a stage
    finds what it needs by the slot number that goes with the data. A write that is refused stops
    the whole pipeline.

    Latency: `LATENCY` cycles from the transfer of a result's accumulators to its word. Throughput:
    a result in lanes / vector_lanes cycles, also across instructions, as long as the memories take
    the words (two cycles more where a residual follows close behind an earlier instruction).

    banks, lanes, vector_lanes : of the machine
    column_tables : tables there are; a command that names another one stops with an error
    logic_multipliers : GELU multiplies in LUTs (the requantizers, two DSP blocks each, do not)
    thresholds : results can be cleared, see `ResultThreshold`
    max_positions : rows that can have a place in row memory; 0: no instruction is `placed`

    Members
    -------
    command : one per array instruction, in order; may come before or after its results
    accumulators : taken in the cycle in which the last group is read
    row_scale : one per row of an attention command: requantizer of all its words
    table : requantizers of fully connected commands
    residual : reads the word pairs that `Destination.RESIDUAL` adds to
    partial : reads the sums of an earlier instruction, when that has been written
    token_write, row_write : results
    give, give_token : credits, after the write has been taken
    residual_saturations : lanes whose residual was clipped, in the cycle after
    error : `TABLE_ADDRESS`; the command and all after it wait for a reset
    pc : instruction of the `residual` and `partial` reads
    idle : no command is in work

    With `max_positions` only:
    origin, place_read, place_pc : reads of places, and their instruction
    forget : rows of the commands that are in work now will not be present
    placed : a row is written to its place, where it is present from then on

    With `thresholds` only: values_cleared, results made 0 some cycles before
    """

    SLOTS = 4
    LATENCY = EpilogueLane.LAST_STAGE + 2

    def __init__(
        self,
        *,
        banks: int,
        lanes: int,
        vector_lanes: int,
        column_tables: int,
        logic_multipliers: bool = False,
        max_positions: int = 0,
        thresholds: bool = False,
    ) -> None:
        if vector_lanes < 1 or lanes % vector_lanes:
            raise ValueError(f"vector_lanes must divide lanes ({lanes}), not {vector_lanes}")
        self._banks, self._lanes, self._vector_lanes = banks, lanes, vector_lanes
        self._column_tables, self._logic = column_tables, logic_multipliers
        self._max_positions, self._thresholds = max_positions, thresholds
        place_ports = {
            "origin": Out(origin_read_port()),
            "place_read": Out(token_read_port(lanes)),
            "place_pc": Out(PC_BITS),
            "forget": In(1),
            "placed": Out(placed_layout(banks)),
        }
        row_write = row_write_layout(banks, lanes, bool(max_positions))
        super().__init__(
            {
                "command": In(stream.Signature(EPILOGUE_COMMAND)),
                "accumulators": In(stream.Signature(accumulators_layout(lanes))),
                "row_scale": In(stream.Signature(ROW_SCALE)),
                "table": Out(table_read_port(vector_lanes)),
                "residual": Out(token_read_port(lanes)),
                "partial": Out(token_read_port(lanes)),
                "token_write": Out(stream.Signature(token_write_layout(lanes))),
                "row_write": Out(stream.Signature(row_write)),
                "give": Out(GIVE),
                "give_token": Out(GIVE_TOKEN),
                "residual_saturations": Out(range(vector_lanes + 1)),
                "error": Out(ERROR),
                "pc": Out(PC_BITS),
                "idle": Out(1),
                **(place_ports if max_positions else {}),
                **({"values_cleared": Out(range(vector_lanes + 1))} if thresholds else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Slots, then the pipeline from accumulators to words."""
        m = Module()
        lanes, vector_lanes = self._lanes, self._vector_lanes
        groups = lanes // vector_lanes
        eager = groups < 3  # then a result has few cycles
        m.submodules.writer = writer = ResultWriter(
            banks=self._banks, lanes=lanes, eager=eager, places=bool(self._max_positions)
        )
        m.submodules.reader = reader = ResidualReader(lanes=lanes, vector_lanes=vector_lanes)
        connect(m, writer.token_write, flipped(self.token_write))
        connect(m, writer.row_write, flipped(self.row_write))
        m.submodules.sums = sums = PartialReader(lanes=lanes, vector_lanes=vector_lanes)
        connect(m, reader.memory, flipped(self.residual))
        connect(m, sums.memory, flipped(self.partial))

        entered = Signal()
        at = CommandSlots(
            m,
            self.SLOTS,
            offered=self.command.payload,
            entered=entered,
            column_tables=self._column_tables,
        )
        slots, front, used = at.slots, at.front, at.used
        now, front_flags = at.now.command, at.now.flags
        for unit in (writer, reader, sums):
            m.d.comb += [
                unit.command.eq(at.oldest.command),
                unit.changes.eq(at.oldest.changes),
                unit.following.eq(at.oldest.following),
            ]
        m.d.comb += [
            self.command.ready.eq(used < self.SLOTS),
            entered.eq(self.command.valid & self.command.ready),
            at.row_written.eq(writer.row_done),
            at.written.eq(writer.done),
            reader.adds.eq(at.oldest.flags.adds),
            sums.accumulates.eq(at.oldest.flags.accumulates),
            self.pc.eq(at.oldest.command.pc),
            self.give.eq(writer.give),
            self.give_token.eq(writer.give_token),
            self.idle.eq((used == 0) & ~self.give.valid & ~self.give_token.valid),
        ]

        # Walk the results of the newest command
        enable = Signal()
        row, word, group = Signal(ROWS_BITS), Signal(4), Signal(range(groups))
        summed, present, moves = Signal(), Signal(), Signal()
        last_group, last_word = Signal(), Signal()
        group_bits = (groups - 1).bit_length()
        walks_oldest = front == at.back  # while there is something to walk
        partial, accumulate, half = front_flags.partial, front_flags.accumulates, Signal()
        """The sums are kept: their low halves, then (`half`) their high ones. And: adds to some."""
        m.d.comb += [
            sums.o.ready.eq(moves & accumulate & (half == partial)),
            self.error.valid.eq(front_flags.bad),
            self.error.code.eq(Error.TABLE_ADDRESS),
            self.error.pc.eq(now.pc),
            summed.eq(
                self.accumulators.valid
                & (front_flags.plain | (accumulate & walks_oldest & sums.o.valid))
            ),
            present.eq(
                summed | (self.accumulators.valid & front_flags.attends & self.row_scale.valid)
            ),
            moves.eq(present & enable),
            last_group.eq((group == groups - 1) & (half == partial)),
            last_word.eq(~now.attention | (word == now.head_words - 1)),
            self.accumulators.ready.eq(moves & last_group),
            self.row_scale.ready.eq(moves & last_group & last_word & now.attention),
            at.row_read.eq(moves & last_group & last_word),
            at.read.eq(at.row_read & (now.rows == 1)),
            self.table.enable.eq(moves),
            self.table.address.eq(Cat(group[:group_bits], now.table)),
        ]
        with m.If(moves):
            m.d.sync += [half.eq(partial & ~half), group.eq(group + (half == partial))]
            with m.If(last_group):
                m.d.sync += [group.eq(0), word.eq(word + 1)]
                with m.If(last_word):
                    m.d.sync += [word.eq(0), row.eq(row + 1)]
                with m.If(at.read):
                    m.d.sync += row.eq(0)
        # The command behind the oldest one is either wholly walked, or it is the newest one
        wholly, next_walks = used > at.unread + 1, used == at.unread + 1
        m.d.comb += [
            reader.own.eq(summed & walks_oldest),
            reader.walked.eq(Mux(wholly, at.oldest.behind.rows, row)),
            reader.row_walked.eq(at.row_read & Mux(writer.done, next_walks, walks_oldest)),
        ]

        # What goes with the data: stage n holds it n cycles after its group was read
        stage = [
            Signal(data.StructLayout({"valid": 1, "slot": range(self.SLOTS)}), name=f"stage_{n}")
            for n in range(EpilogueLane.LAST_STAGE + 1)
        ]
        m.d.comb += [stage[0].valid.eq(present), stage[0].slot.eq(front)]
        with m.If(enable):
            m.d.sync += [new.eq(old) for old, new in pairwise(stage)]

        gelu_command, scale_command, last_command = (
            Signal(EPILOGUE_COMMAND, name=name) for name in ("gelu", "scale", "last")
        )
        # The last stage's is decoded a stage early: it decides whether anything moves; and so is
        # what goes straight into a multiplier
        m.d.comb += [
            gelu_command.eq(slots[stage[EpilogueLane.GELU_STAGE].slot]),
            scale_command.eq(slots[stage[EpilogueLane.SCALE_STAGE - 1].slot]),
            last_command.eq(slots[stage[EpilogueLane.LAST_STAGE - 1].slot]),
        ]
        low, zero_point = Signal(signed(ACT.bits)), Signal(signed(ACT.bits))
        wide, to_rows, rescale = Signal(), Signal(), Signal(ROW_SCALE, reset_less=True)
        adds, next_adds = Signal(), Signal()
        m.d.comb += next_adds.eq(Mux(enable, is_residual(last_command), adds))
        m.d.sync += adds.eq(next_adds)
        with m.If(enable):
            m.d.sync += [
                wide.eq(is_wide(last_command)),
                to_rows.eq(is_rows(last_command)),
                low.eq(ACT.low),
                zero_point.eq(0),
            ]
            with m.If(is_gelu(last_command)):
                m.d.sync += [low.eq(ACT.low - 1), zero_point.eq(last_command.activation_zero_point)]
            with m.Elif(~last_command.attention & (last_command.activation == Activation.RELU)):
                m.d.sync += low.eq(0)
        gelu, scaled = is_gelu(scale_command), scale_command.activation_multiplier
        with m.If(enable):
            m.d.sync += [
                # not a register with a reset: those are not in multipliers
                rescale.multiplier.eq(Cat(scaled[0] | ~gelu, scaled[1:] & gelu.replicate(15))),
                rescale.shift.eq(Mux(gelu, scale_command.activation_shift, 0)),
            ]

        # Data path
        one_scale, scale = Signal(), Signal(ROW_SCALE, reset_less=True)
        """One requantizer for all lanes, without addend."""
        with m.If(enable):
            m.d.sync += [
                one_scale.eq(now.attention | partial),
                scale.eq(self.row_scale.payload),
            ]
            with m.If(partial):
                m.d.sync += [scale.multiplier.eq(1), scale.shift.eq(0)]
        units = []
        for lane in range(vector_lanes):
            m.submodules[f"lane_{lane}"] = unit = EpilogueLane(
                logic=self._logic, thresholds=self._thresholds
            )
            units.append(unit)
            x = Signal(signed(ACC.bits), name=f"x_{lane}", reset_less=True)
            choices = Array(self.accumulators.payload[lane::vector_lanes])
            total = Signal(signed(ACC.bits), name=f"total_{lane}")
            m.d.comb += total.eq(choices[group] + Mux(accumulate, sums.o.payload[lane], 0))
            with m.If(enable):
                m.d.sync += x.eq(total)
                with m.If(partial):
                    m.d.sync += x.eq(total.word_select(half, RESIDUAL.bits).as_signed())
            m.d.comb += [
                unit.enable.eq(enable),
                unit.x.eq(x),
                unit.entry.eq(self.table.data[lane]),
                unit.linear.eq(~is_gelu(gelu_command)),
                unit.scale.eq(rescale),
                unit.zero_point.eq(zero_point),
                unit.low.eq(low),
                unit.wide.eq(wide),
                unit.adds.eq(adds),
                unit.residual.eq(reader.o.payload[lane]),
            ]
            with m.If(one_scale):
                m.d.comb += unit.entry.eq(Cat(Const(0, 32), scale.multiplier, scale.shift))

        if self._thresholds:
            m.submodules.threshold = threshold = ResultThreshold(
                lanes=lanes, vector_lanes=vector_lanes, stages=EpilogueLane.GELU_STAGE
            )
            threshold.connect(m, slots, stage, units)
            m.d.comb += [
                threshold.enable.eq(enable),
                threshold.word.eq(word),
                threshold.group.eq(group),
                self.values_cleared.eq(threshold.count),
            ]

        # Collect the groups of a result
        collected = Signal(result_layout(lanes), reset_less=True)
        count, next_count = Signal(range(groups + 1)), Signal(range(groups + 1))
        fires, full = Signal(), Signal()
        last = stage[EpilogueLane.LAST_STAGE]
        m.d.comb += [
            fires.eq(last.valid & enable),
            reader.o.ready.eq(fires & adds),
            writer.results.valid.eq(full),
            writer.results.payload.eq(collected),
        ]
        with m.If(fires):
            before = Cat(collected.values)[vector_lanes * RESIDUAL.bits :]
            m.d.comb += next_count.eq(Mux(full, 1, count + 1))
            m.d.sync += [
                collected.values.eq(Cat(before, (unit.result for unit in units))),
                collected.wide.eq(wide),
                collected.to_rows.eq(to_rows),
            ]
        with m.Else():
            m.d.comb += next_count.eq(Mux(full & writer.results.ready, 0, count))

        # The whole pipeline waits for `enable`: whether the last stage can go on in the next cycle
        # is known a cycle ahead, but for an `eager` writer
        goes, next_full, next_valid = Signal(init=1), Signal(), Signal()
        m.d.comb += [
            next_full.eq(next_count == groups),
            next_valid.eq(Mux(enable, stage[EpilogueLane.LAST_STAGE - 1].valid, last.valid)),
            enable.eq(goes | (((~adds | reader.o.valid) & writer.results.ready) if eager else 0)),
        ]
        m.d.sync += [
            count.eq(next_count),
            full.eq(next_full),
            goes.eq(~next_valid | ((~next_full | writer.empties) & (~next_adds | reader.soon))),
        ]
        m.d.sync += self.residual_saturations.eq(
            Mux(fires, sum(unit.saturated for unit in units), 0)
        )
        if self._max_positions:
            self._place(m, writer, entered=entered, enter=at.enter, back=at.back)
        return m

    def _place(
        self, m: Module, writer: ResultWriter, *, entered: Value, enter: Value, back: Value
    ) -> None:
        """Places for the writer; what it writes is present, unless its command is forgotten."""
        m.submodules.places = places = PlaceReader(
            banks=self._banks,
            lanes=self._lanes,
            depth=4 if self._lanes > self._vector_lanes else 8,
            slots=self.SLOTS,
            max_positions=self._max_positions,
        )
        connect(m, places.o, writer.place)
        connect(m, places.origin, flipped(self.origin))
        connect(m, places.memory, flipped(self.place_read))
        forgotten = Signal(self.SLOTS)
        with m.If(entered):
            m.d.sync += forgotten.bit_select(enter, 1).eq(0)
        with m.If(self.forget):
            m.d.sync += forgotten.eq(-1)
        m.d.comb += [
            places.command.eq(self.command.payload),
            places.entered.eq(entered),
            self.place_pc.eq(places.pc),
            self.placed.eq(writer.placed),
            self.placed.valid.eq(writer.placed.valid & ~forgotten.bit_select(back, 1)),
        ]
        with m.If(writer.bad_place):
            m.d.comb += [
                self.error.valid.eq(1),
                self.error.code.eq(Error.INDEX),
                self.error.pc.eq(writer.command.pc),
            ]
