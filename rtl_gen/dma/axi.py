"""AXI4 and AXI4-Lite signatures with the standard signal names, and the DMA's own streams."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = [
    "BURST_BEATS",
    "TRANSFER",
    "axi4",
    "axi4_lite",
    "axi4_read",
    "axi4_write",
    "join",
    "read_data_layout",
]

BURST_BEATS = 16
"""Longest burst. Bursts end at multiples of it, and so never cross 4 KiB."""

TRANSFER = data.StructLayout({"address": 32, "beats": 24})
"""`beats` consecutive beats (at least 1) from byte `address`, a multiple of the bus width, on."""


def read_data_layout(bus_bits: int) -> data.StructLayout:
    """Return one beat of a read; `last` marks the last beat of a TRANSFER."""
    return data.StructLayout({"data": bus_bits, "last": 1})


def axi4_read(bus_bits: int) -> wiring.Signature:
    """Return the AR and R channels, seen from the master."""
    return wiring.Signature(
        {
            "arid": Out(1),
            "araddr": Out(32),
            "arlen": Out(8),
            "arsize": Out(3),
            "arburst": Out(2),
            "arvalid": Out(1),
            "arready": In(1),
            "rid": In(1),
            "rdata": In(bus_bits),
            "rresp": In(2),
            "rlast": In(1),
            "rvalid": In(1),
            "rready": Out(1),
        }
    )


def axi4_write(bus_bits: int) -> wiring.Signature:
    """Return the AW, W and B channels, seen from the master."""
    return wiring.Signature(
        {
            "awid": Out(1),
            "awaddr": Out(32),
            "awlen": Out(8),
            "awsize": Out(3),
            "awburst": Out(2),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(bus_bits),
            "wstrb": Out(bus_bits // 8),
            "wlast": Out(1),
            "wvalid": Out(1),
            "wready": In(1),
            "bid": In(1),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
        }
    )


def axi4(bus_bits: int) -> wiring.Signature:
    """Return all five AXI4 channels, seen from the master: 32-bit addresses, ids tied to 0."""
    return wiring.Signature(
        {**dict(axi4_write(bus_bits).members), **dict(axi4_read(bus_bits).members)}
    )


def axi4_lite(address_bits: int = 12) -> wiring.Signature:
    """Return AXI4-Lite with 32 data bits, seen from the master."""
    return wiring.Signature(
        {
            "awaddr": Out(address_bits),
            "awprot": Out(3),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(32),
            "wstrb": Out(4),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
            "araddr": Out(address_bits),
            "arprot": Out(3),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata": In(32),
            "rresp": In(2),
            "rvalid": In(1),
            "rready": Out(1),
        }
    )


def join(
    m: Module,
    bus: wiring.PureInterface,
    *,
    read: wiring.PureInterface,
    write: wiring.PureInterface,
) -> None:
    """Drive the AXI4 master port `bus` of the component being elaborated from both half buses."""
    for half in (read, write):
        for name, member in half.signature.members.items():
            outer, inner = getattr(bus, name), getattr(half, name)
            m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
