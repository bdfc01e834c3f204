"""The machine's own counters."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ROWS_BITS
from spec.isa import ATTENTION, FULLY_CONNECTED, HALT
from spec.registers import COUNTER_BITS, COUNTERS

__all__ = ["PAIR_MACS", "ROW_MACS", "Counters", "events_layout"]


ROW_MACS = (1 << FULLY_CONNECTED["depth"].width) * (1 << FULLY_CONNECTED["columns"].width) - 1
"""More than a row of a fully connected layer has."""
PAIR_MACS = 4 * ((1 << ROWS_BITS) - 1) * ((1 << ATTENTION["head_dim"].width) - 1)
"""Most of a pair of queries of a head: two rows, Q.K^T and P.V."""


def events_layout(
    *,
    banks: int,
    lanes: int,
    bus_bits: int,
    head_groups: int = 1,
    zero_skip: bool = False,
    attention_masks: bool = False,
    cleared: int = 0,
) -> data.StructLayout:
    """Return what each counter of `spec.registers.COUNTERS` can grow by in one cycle.

    cleared : most values that thresholds make 0 in a cycle, in a head group
    Bytes: scratch is read and written in one cycle, so all byte counts hold two beats.
    """
    most = {
        "macs_done": banks * lanes,
        "row_words_read": banks,
        "residual_saturations": lanes,
        "logit_saturations": lanes,
    }
    most = {name: head_groups * count for name, count in most.items()}
    if cleared:
        most["values_cleared"] = head_groups * cleared
    if zero_skip:
        most["macs_skipped_zero"] = ROW_MACS
    if attention_masks:
        most["macs_skipped_masked"] = PAIR_MACS
    if zero_skip or attention_masks:
        most["idle_banks"] = head_groups * banks
    most["attentions_skipped"] = (1 << HALT["skipped"].width) - 1
    most |= {name: bus_bits // 4 for name in COUNTERS if name.endswith("_bytes")}
    return data.StructLayout({name: range(most.get(name, 1) + 1) for name in COUNTERS})


class Counters(wiring.Component):
    """One counter for each name in `spec.registers.COUNTERS`.

    bits : that are built of each; those above read as 0
    sizes : see `events_layout`

    An event shows in `values` two cycles later: it is late in its cycle, and the sums are long.

    Members
    -------
    events : how much each counter grows in this cycle, by name (`events_layout`)
    clear : all to 0; events of this cycle do not count
    values : in the order of COUNTERS
    """

    def __init__(self, *, bits: int = COUNTER_BITS, **sizes: int) -> None:
        self._bits = bits
        events = events_layout(**sizes)
        super().__init__(
            {
                "events": In(events),
                "clear": In(1),
                "values": Out(data.ArrayLayout(COUNTER_BITS, len(COUNTERS))),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        seen = Signal(self.events.shape())
        m.d.sync += seen.eq(Mux(self.clear, 0, self.events))
        for index, name in enumerate(COUNTERS):
            value = self.values[index][: self._bits]
            m.d.sync += value.eq(Mux(self.clear, 0, value + seen[name]))
        return m
