"""Row memory: one independently addressed memory a bank, for weights, keys and values."""

from amaranth.hdl import Cat, Const, Module, Mux, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from rtl_gen.interfaces import ADDRESS_BITS, PC_BITS, row_write_layout

__all__ = ["RowMemory", "row_trace_layout"]


def row_trace_layout(banks: int, lanes: int, places: bool = False) -> data.StructLayout:
    """One row-memory write of the epilogue, as the trace reports it.

    With `places`, bank number `banks` stands for all banks.
    """
    return data.StructLayout(
        {
            "valid": 1,
            "pc": PC_BITS,
            "bank": range(banks + places),
            "address": ADDRESS_BITS,
            "data": lanes * 8,
        }
    )


class RowMemory(wiring.Component):
    """`banks` memories of `words` rows of `lanes` bytes, each with one read and one write port.

    Latency: read data one cycle after `read_enable`. Throughput: one read and one write a bank and
    cycle; the epilogue always writes at once, the loader waits while it wants the epilogue's bank.
    With `places`, the epilogue can write a row to the same word of all banks.
    A row read and written in one cycle is undefined (in simulation: the old one); no program does
    it, and to synthesis it is a don't-care (`no_rw_check`).

    Members
    -------
    read_enable, read_address, read_valid : read the banks in `read_valid` at their own addresses
    read_data : the rows; a bank that does not read keeps its row
    rows_read : banks that read in this cycle, for the counters
    epilogue, loader : writes of one row; beyond the end they complete without effect
    read_error, epilogue_error, loader_error : an access beyond `words` in this cycle
    trace : the epilogue's write of this cycle
    """

    def __init__(self, *, banks: int, lanes: int, words: int, places: bool = False) -> None:
        if banks < 1 or banks & (banks - 1):
            raise ValueError(f"banks must be a power of two, not {banks}")
        if lanes < 1:
            raise ValueError(f"lanes must be positive, not {lanes}")
        if not 1 <= words < 1 << ADDRESS_BITS:
            raise ValueError(f"words must lie in 1..{(1 << ADDRESS_BITS) - 1}, not {words}")
        self.banks = banks
        self.lanes = lanes
        self.words = words
        self.places = places
        super().__init__(
            {
                "read_enable": In(1),
                "read_address": In(data.ArrayLayout(ADDRESS_BITS, banks)),
                "read_valid": In(banks),
                "read_data": Out(data.ArrayLayout(lanes * 8, banks)),
                "rows_read": Out(range(banks + 1)),
                "epilogue": In(stream.Signature(row_write_layout(banks, lanes, places))),
                "loader": In(stream.Signature(row_write_layout(banks, lanes))),
                "read_error": Out(1),
                "epilogue_error": Out(1),
                "loader_error": Out(1),
                "trace": Out(row_trace_layout(banks, lanes, places)),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        epilogue, loader = self.epilogue, self.loader
        address_bits = ceil_log2(self.words)
        all_banks = epilogue.p.all_banks if self.places else Const(0, 1)

        epilogue_beyond = epilogue.p.address >= self.words
        loader_beyond = loader.p.address >= self.words
        read_beyond = []
        for b in range(self.banks):
            memory = Memory(
                shape=unsigned(self.lanes * 8), depth=self.words, init=[], attrs={"no_rw_check": 1}
            )
            m.submodules[f"bank{b}"] = memory
            read, write = memory.read_port(), memory.write_port()

            enable = self.read_enable & self.read_valid[b]
            m.d.comb += [
                read.en.eq(enable),
                read.addr.eq(self.read_address[b][:address_bits]),
                self.read_data[b].eq(read.data),
            ]
            read_beyond.append(enable & (self.read_address[b] >= self.words))

            by_epilogue = epilogue.valid & (all_banks | (epilogue.p.bank == b))
            by_loader = loader.valid & (loader.p.bank == b)
            m.d.comb += [
                write.addr.eq(Mux(by_epilogue, epilogue.p.address, loader.p.address)),
                write.data.eq(Mux(by_epilogue, epilogue.p.data, loader.p.data)),
                write.en.eq(Mux(by_epilogue, ~epilogue_beyond, by_loader & ~loader_beyond)),
            ]

        m.d.comb += [
            epilogue.ready.eq(1),
            loader.ready.eq(~epilogue.valid | (~all_banks & (epilogue.p.bank != loader.p.bank))),
            self.read_error.eq(Cat(*read_beyond).any()),
            self.epilogue_error.eq(epilogue.valid & epilogue_beyond),
            self.loader_error.eq(loader.valid & loader.ready & loader_beyond),
            self.trace.valid.eq(epilogue.valid & ~epilogue_beyond),
            self.trace.pc.eq(epilogue.p.pc),
            self.trace.bank.eq(Mux(all_banks, self.banks, epilogue.p.bank)),
            self.trace.address.eq(epilogue.p.address),
            self.trace.data.eq(epilogue.p.data),
        ]
        with m.If(self.read_enable):
            m.d.comb += self.rows_read.eq(sum(self.read_valid[b] for b in range(self.banks)))
        return m
