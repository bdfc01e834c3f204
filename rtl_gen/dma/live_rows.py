"""How many rows a transfer has: fewer where tokens have been dropped."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data

from rtl_gen.interfaces import ROWS_BITS

__all__ = ["transfer_rows"]


def transfer_rows(m: Module, body: data.View, live: Value | None, name: str) -> Value:
    """Rows of a LOAD_TOKENS or STORE_TOKENS: with `live` set, those of live tokens, perhaps none.

    body : the instruction's fields
    live : the live-token register; None on a machine without token selector
    """
    if live is None:
        return body.rows
    left = Signal(ROWS_BITS, name=f"{name}_left")
    rows = Signal(ROWS_BITS, name=f"{name}_rows")
    with m.If(live > body.first):
        m.d.comb += left.eq(live - body.first)
    m.d.comb += rows.eq(Mux(body.live & (left < body.rows), left, body.rows))
    return rows
