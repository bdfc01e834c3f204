"""The threshold of the epilogue's results: its limit, and how many it cleared."""

from itertools import pairwise
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import EPILOGUE_COMMAND
from rtl_gen.postproc.result_kind import is_gelu, is_partial, is_relu, is_wide
from spec.formats import ACT, RESIDUAL

__all__ = ["LIMIT_BITS", "ResultThreshold"]

LIMIT_BITS = RESIDUAL.bits


class ResultThreshold(wiring.Component):
    """Says the limit for the results that leave the first requantizer, and counts the cleared ones.

    The results there are int16; a threshold is that of the result in its own format, before the
    activation. So where an int8 result comes without GELU, a limit that reaches the largest int8
    clears all; and what ReLU makes 0 does not count as cleared. Of attention's words only the
    lanes of the head count. Sums that are kept have no threshold.

    stages : from the reading of a group to its results here

    Members
    -------
    enable : high moves the pipeline on
    word, group : what is read now
    next_command : of the group whose results are here one cycle later
    valid, command, limit : of the group whose results are here
    cleared, negative : they were made 0; they are below 0
    count : results that were cleared, a cycle later
    """

    def __init__(self, *, lanes: int, vector_lanes: int, stages: int) -> None:
        self._lanes, self._vector_lanes, self._stages = lanes, vector_lanes, stages
        self._place = data.StructLayout({"word": 4, "group": range(lanes // vector_lanes)})
        super().__init__(
            {
                "enable": In(1),
                "word": In(4),
                "group": In(range(lanes // vector_lanes)),
                "valid": In(1),
                "next_command": In(EPILOGUE_COMMAND),
                "command": In(EPILOGUE_COMMAND),
                "limit": Out(LIMIT_BITS),
                "cleared": In(vector_lanes),
                "negative": In(vector_lanes),
                "count": Out(range(vector_lanes + 1)),
            }
        )

    def connect(self, m: Module, slots: Array, stage: list[Any], units: list[Any]) -> None:
        """Connect commands by their slots, and the lanes."""
        m.d.comb += [
            self.next_command.eq(slots[stage[self._stages - 1].slot]),
            self.valid.eq(stage[self._stages].valid),
            self.command.eq(slots[stage[self._stages].slot]),
            self.cleared.eq(Cat(unit.cleared for unit in units)),
            self.negative.eq(Cat(unit.negative for unit in units)),
            *(unit.limit.eq(self.limit) for unit in units),
        ]

    def elaborate(self, platform: object) -> Module:
        """Places travel with the groups; then their own lanes are counted."""
        m = Module()
        command, lanes = self.command, self._lanes
        places = [Signal(self._place, name=f"place_{n}") for n in range(self._stages + 1)]
        m.d.comb += [places[0].word.eq(self.word), places[0].group.eq(self.group)]
        with m.If(self.enable):
            m.d.sync += [new.eq(old) for old, new in pairwise(places)]
        here = places[-1]

        after = self.next_command
        with m.If(self.enable):
            m.d.sync += self.limit.eq(Mux(is_partial(after), 0, after.threshold))
            with m.If(~is_wide(after) & ~is_gelu(after) & (after.threshold >= ACT.high)):
                m.d.sync += self.limit.eq(~0)

        counted = Signal(self._vector_lanes)
        beyond = Signal(range(15 * lanes + 1))
        """Channels of the head in the words before."""
        m.d.comb += beyond.eq(here.word * lanes)
        for lane in range(self._vector_lanes):
            channel = Signal(range(16 * lanes), name=f"channel_{lane}")
            at = here.group * self._vector_lanes + lane
            m.d.comb += channel.eq(at + beyond)
            own = (at >= command.first_lane) & (channel < command.head_dim + command.first_lane)
            m.d.sync += counted[lane].eq(
                self.enable
                & self.valid
                & self.cleared[lane]
                & ~(is_relu(command) & self.negative[lane])
                & (~command.attention | own)
            )
        m.d.comb += self.count.eq(sum(counted[lane] for lane in range(self._vector_lanes)))
        return m
