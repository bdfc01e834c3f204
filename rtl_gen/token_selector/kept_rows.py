"""Which rows stay, and with what weight the others go into their package."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ADDRESS_BITS, ROWS_BITS, SELECT_COMMAND
from spec.formats import SCORE, SELECTOR, SOFTMAX
from spec.isa import Package

__all__ = ["KeptRows"]


class KeptRows(wiring.Component):
    """Compares the scores with the threshold and keeps a row's fate: stays, or its weight.

    Golden twin: `golden_model.units.select_tokens.kept_rows`, and the weights of `package_row`.
    Throughput: a score a cycle. Latency: `LATENCY` cycles from a score to `done` and the sums.

    Members
    -------
    start, first, row : begin; index and address of the first row behind the prefix
    command : the instruction, constant until the next `start`
    valid, score : of the rows behind the prefix, in their order
    done : the fates of all rows are there, and what follows holds
    dropped, total : rows that go, and the sum of their weights, which count as 1 if all are 0
    gone, gone_row : index and address of the first of them
    lookup, index : asks for a row's fate
    kept, weight : one cycle later
    """

    LATENCY = 3

    def __init__(self, *, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        super().__init__(
            {
                "start": In(1),
                "first": In(ROWS_BITS),
                "row": In(ADDRESS_BITS),
                "command": In(SELECT_COMMAND),
                "valid": In(1),
                "score": In(SCORE.bits),
                "done": Out(1),
                "dropped": Out(ROWS_BITS),
                "total": Out(SOFTMAX.sum_bits),
                "gone": Out(ROWS_BITS),
                "gone_row": Out(ADDRESS_BITS),
                "lookup": In(1),
                "index": In(ROWS_BITS),
                "kept": Out(1),
                "weight": Out(SELECTOR.weight_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A score's fate, then the sums, then what holds for all rows."""
        m = Module()
        command, highest = self.command, (1 << SELECTOR.weight_bits) - 1
        m.submodules.fates = fates = Memory(
            shape=unsigned(1 + SELECTOR.weight_bits), depth=self.max_tokens, init=[]
        )
        read, write = fates.read_port(), fates.write_port()

        # The score's fate
        index, packages_from = Signal(ROWS_BITS), Signal(ROWS_BITS)
        row = Signal(ADDRESS_BITS)
        compared, kept, weight = Signal(), Signal(), Signal(SELECTOR.weight_bits)
        shifted = Signal(SCORE.bits)
        m.d.comb += shifted.eq(self.score >> command.weight_shift)
        m.d.sync += [
            compared.eq(self.valid),
            kept.eq(Mux(index >= packages_from, command.each, self.score >= command.threshold)),
            weight.eq(Mux(shifted > highest, highest, shifted)),
        ]
        with m.If(self.start):
            m.d.sync += [
                index.eq(self.first),
                packages_from.eq(command.rows - command.packages),
            ]
        with m.Elif(self.valid):
            m.d.sync += index.eq(index + 1)
        with m.If(command.package != Package.WEIGHTED):
            m.d.sync += weight.eq(1)

        # Sums
        at, left = Signal(ROWS_BITS), Signal(ROWS_BITS)
        any_kept, total = Signal(), Signal(SOFTMAX.sum_bits)
        dropped, gone, gone_row = Signal(ROWS_BITS), Signal(ROWS_BITS), Signal(ADDRESS_BITS)
        m.d.comb += [
            write.en.eq(compared),
            write.addr.eq(at),
            write.data.eq(Cat(kept, weight)),
        ]
        with m.If(self.start):
            m.d.sync += [
                at.eq(self.first),
                row.eq(self.row),
                left.eq(command.rows - self.first),
                any_kept.eq(0),
                total.eq(0),
                dropped.eq(0),
            ]
        with m.Elif(compared):
            m.d.sync += [at.eq(at + 1), row.eq(row + command.stride), left.eq(left - 1)]
            with m.If(kept):
                m.d.sync += any_kept.eq(1)
            with m.Else():
                m.d.sync += [dropped.eq(dropped + 1), total.eq(total + weight)]
                with m.If(dropped == 0):
                    m.d.sync += [gone.eq(at), gone_row.eq(row)]

        # Without a package a row stays; weights that are all 0 count as 1
        rescues, plain = Signal(), Signal()
        m.d.comb += rescues.eq((command.package == Package.NONE) & ~any_kept)
        m.d.sync += [
            self.done.eq((left == 0) & ~self.start),
            self.dropped.eq(dropped - rescues),
            self.gone.eq(gone + rescues),
            self.gone_row.eq(Mux(rescues, gone_row + command.stride, gone_row)),
            plain.eq(total == 0),
            self.total.eq(Mux(total == 0, dropped, total)),
        ]
        m.d.comb += [
            read.en.eq(self.lookup),
            read.addr.eq(self.index),
            self.kept.eq(read.data[0]),
            self.weight.eq(Mux(plain, 1, read.data[1:])),
        ]
        return m
