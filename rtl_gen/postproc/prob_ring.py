"""The ring of probability rows: packed bank by bank as they are written."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import prob_row_layout
from spec.formats import PROB

__all__ = ["ProbRing"]


class ProbRing(wiring.Component):
    """Holds words of `banks` probabilities; with `index_bits`, each with the place of its key.

    Without `index_bits` a row takes as many words as were written. With it, a bank that does not
    keep its entry of a word writes nothing, and its next entry takes the free place: all rows
    start at a common word, and a row is as long as its fullest bank. Latency: a word can be read
    in the cycle after the next one, a row is told of in the cycle of its last word. Throughput: a
    word a cycle. No back-pressure: who writes counts the free words.

    Members
    -------
    write, last, probs : a word of a row, its last one
    kept, index : with `index_bits`: entries to keep, and their places
    row_valid, row : the row that ends in this cycle
    unused : with `index_bits`, in the cycle of `row_valid`: words it does not take
    enable, address : read port; data one cycle later, held until the next read
    read_probs, read_index : what is there
    """

    def __init__(self, *, banks: int, words: int, index_bits: int = 0) -> None:
        self.banks, self.words, self.index_bits = banks, words, index_bits
        indices = data.ArrayLayout(index_bits, banks)
        packed = {
            "kept": In(banks),
            "index": In(indices),
            "unused": Out(range(words + 1)),
            "read_index": Out(indices),
        }
        super().__init__(
            {
                "write": In(1),
                "last": In(1),
                "probs": In(data.ArrayLayout(PROB.bits, banks)),
                "row_valid": Out(1),
                "row": Out(prob_row_layout(words, banks if index_bits else 0)),
                "enable": In(1),
                "address": In(range(words)),
                "read_probs": Out(data.ArrayLayout(PROB.bits, banks)),
                **(packed if index_bits else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """One memory, or one a bank."""
        m = Module()
        start = Signal(range(self.words))
        written = Signal(16)
        m.d.comb += [self.row_valid.eq(self.write & self.last), self.row.address.eq(start)]
        with m.If(self.write):
            m.d.sync += written.eq(Mux(self.last, 0, written + 1))
        if self.index_bits:
            words = self._packed(m, start, written)
        else:
            m.submodules.ring = ring = memory.Memory(
                shape=self.probs.shape(), depth=self.words, init=[]
            )
            write = ring.write_port()
            words = (written + 1)[:16]
            m.d.comb += [write.en.eq(self.write), write.data.eq(self.probs)]
            with m.If(self.write):
                m.d.sync += write.addr.eq(write.addr + 1)
            self._read(m, ring, self.read_probs.as_value())
        m.d.comb += self.row.words.eq(words)
        with m.If(self.row_valid):
            m.d.sync += start.eq(start + words)
        return m

    def _packed(self, m: Module, start: Signal, written: Signal) -> Value:
        """A memory a bank; returns the words of the row that ends."""
        longest, grows = Signal(range(self.words + 1)), Signal(self.banks)
        words = Signal.like(longest)
        """`longest` with the word that is written; it grows by no more than one a word."""
        m.d.comb += words.eq(longest + grows.any())
        entry = data.StructLayout({"prob": PROB.bits, "index": self.index_bits})
        for bank in range(self.banks):
            ring = memory.Memory(shape=entry, depth=self.words, init=[])
            m.submodules[f"ring_{bank}"] = ring
            count = Signal(range(self.words + 1), name=f"count_{bank}")
            counted = Signal.like(count, name=f"counted_{bank}")
            write, kept = ring.write_port(), self.kept[bank]
            m.d.comb += [
                write.en.eq(self.write & kept),
                write.addr.eq(start + count),
                write.data.prob.eq(self.probs[bank]),
                write.data.index.eq(self.index[bank]),
                grows[bank].eq(kept & (count == longest)),
                counted.eq(count + kept),
                self.row.counts[bank].eq(counted),
            ]
            with m.If(self.write):
                m.d.sync += count.eq(Mux(self.last, 0, counted))
            self._read(m, ring, Cat(self.read_probs[bank], self.read_index[bank]))
        with m.If(self.write):
            m.d.sync += longest.eq(Mux(self.last, 0, words))
        m.d.comb += self.unused.eq(written + 1 - words)
        return words

    def _read(self, m: Module, ring: memory.Memory, target: Value) -> None:
        """The read port of a memory."""
        read = ring.read_port()
        m.d.comb += [
            read.en.eq(self.enable),
            read.addr.eq(self.address),
            target.eq(Value.cast(read.data)),
        ]
