"""Counts what the array was spared, and what of it stood idle."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spec.isa import FULLY_CONNECTED

__all__ = ["SkippedWork"]

DEPTH, COLUMNS = FULLY_CONNECTED["depth"], FULLY_CONNECTED["columns"]


class SkippedWork(wiring.Component):
    """Idle banks of sparse steps, and the multiplications that a search leaves out.

    Golden twin: `macs_skipped_zero` of `golden_model.machine`, fully connected. All lanes of
    `columns` count, also those of further head groups; banks count in each group that has some.

    Members
    -------
    fired, sparse, valid, last : of the step in this cycle; `sparse`: it could leave banks out
    searching : the instruction leaves scalars out; depth, columns : its own
    idle_banks : of a sparse step
    macs : left out of a row, in the cycle after its last step
    """

    def __init__(self, *, banks: int, lanes: int, head_groups: int = 1) -> None:
        self._banks, self._lanes, self._head_groups = banks, lanes, head_groups
        super().__init__(
            {
                "fired": In(1),
                "sparse": In(1),
                "valid": In(banks),
                "last": In(1),
                "searching": In(1),
                "depth": In(DEPTH.shape),
                "columns": In(COLUMNS.shape),
                "idle_banks": Out(range(head_groups * banks + 1)),
                "macs": Out(DEPTH.width + COLUMNS.width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        taken = Signal(range(self._banks + 1))
        left = Signal(DEPTH.shape)
        """Scalars of the row that no step has taken yet, less `depth`."""
        skipped, columns = Signal(DEPTH.shape), Signal(COLUMNS.shape)
        blocks: Value = sum(self.columns > n * self._lanes for n in range(1, self._head_groups)) + 1
        counted = self.fired & self.searching
        m.d.comb += [
            taken.eq(sum(self.valid[bank] for bank in range(self._banks))),
            self.macs.eq(skipped * columns),
        ]
        with m.If(self.fired & self.sparse):
            m.d.comb += self.idle_banks.eq((self._banks - taken) * Mux(self.searching, blocks, 1))
        m.d.sync += skipped.eq(0)
        with m.If(counted):
            m.d.sync += left.eq(left - taken)
            with m.If(self.last):
                m.d.sync += [
                    left.eq(0),
                    skipped.eq(self.depth + left - taken),
                    columns.eq(self.columns),
                ]
        return m
