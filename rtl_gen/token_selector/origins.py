"""Which token each live row was when the image came in."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from amaranth.utils import ceil_log2

from rtl_gen.interfaces import ORIGIN_MOVES, ROWS_BITS, origin_read_port

__all__ = ["Origins"]


class Origins(wiring.Component):
    """Rows are themselves behind LIVE; SELECT moves them up, and numbers package rows behind them.

    Golden twin: `Memories.origin`. There is no sweep: rows below `kept`, which no SELECT has
    moved, are themselves, and only those from there on are read from memory. Latency: one cycle
    from a grant to its origin. Throughput: a row a cycle; SELECT goes first, then the lowest
    client.

    rows : that can have an origin; of those behind them nothing is known
    moves : there is a token selector; without it every row is itself

    Members
    -------
    live, tokens : LIVE is executed, with so many tokens
    moves : of the SELECT in work
    read : clients
    """

    def __init__(self, *, rows: int, moves: bool = True, clients: int = 2) -> None:
        self.rows, self._moves, self._clients = rows, moves, clients
        super().__init__(
            {
                "live": In(1),
                "tokens": In(ROWS_BITS),
                "read": In(origin_read_port()).array(clients),
                **({"moves": In(ORIGIN_MOVES)} if moves else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """One read port for all, and the places SELECT moves rows to."""
        m = Module()
        row, asked, origin = (Signal(ROWS_BITS, name=n) for n in ("row", "asked", "origin"))
        moving = self.moves.read if self._moves else 0
        requests = Cat(moving, (port.row.valid for port in self.read))
        for number, port in enumerate(self.read):
            m.d.comb += [
                port.row.ready.eq(~requests[: number + 1].any()),
                port.origin.eq(origin),
            ]
            m.d.sync += port.valid.eq(port.row.valid & port.row.ready)
        for port in reversed(self.read):
            with m.If(port.row.valid):
                m.d.comb += row.eq(port.row.payload)
        with m.If(requests.any()):
            m.d.sync += asked.eq(row)
        if not self._moves:
            m.d.comb += origin.eq(asked)
            return m

        m.submodules.memory = memory = Memory(shape=unsigned(ROWS_BITS), depth=self.rows, init=[])
        read, write = memory.read_port(), memory.write_port()
        moves, address_bits = self.moves, ceil_log2(self.rows)
        every = (1 << ROWS_BITS) - 1
        kept, tokens = Signal(ROWS_BITS, init=every), Signal(ROWS_BITS)
        first, source, target = (Signal(ROWS_BITS, name=n) for n in ("first", "source", "target"))
        with m.If(moves.read):
            m.d.comb += row.eq(source)
            m.d.sync += source.eq(source + 1)
        m.d.comb += [
            read.en.eq(requests.any()),
            read.addr.eq(row[:address_bits]),
            origin.eq(Mux(asked < kept, asked, read.data)),
            write.en.eq((moves.stays | moves.package) & (target < self.rows)),
            write.addr.eq(target[:address_bits]),
            write.data.eq(Mux(moves.package, tokens + moves.number, origin)),
        ]
        with m.If(moves.stays | moves.package):
            m.d.sync += target.eq(target + 1)
        with m.If(moves.start):
            m.d.sync += [first.eq(moves.first), source.eq(moves.first), target.eq(moves.first)]
        with m.If(moves.end & (first < kept)):
            m.d.sync += kept.eq(first)
        with m.If(self.live):
            m.d.sync += [kept.eq(every), tokens.eq(self.tokens)]
        return m
