"""What crosses the boundary between two units of the link."""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RECEIVED", "word_port"]

RECEIVED = data.StructLayout({"byte": 8, "framing": 1})
"""A byte from the line; with `framing` it had no stop bit and is worth nothing."""


def word_port(address_bits: int) -> wiring.Signature:
    """Return the signature of access to 32-bit words, seen from the master.

    The master holds `valid`, `write`, `address` (of a word, not a byte) and `data` until `done` is
    high for one cycle; then `value` is the word read. It may ask again in the next cycle.
    """
    return wiring.Signature(
        {
            "valid": Out(1),
            "write": Out(1),
            "address": Out(address_bits),
            "data": Out(32),
            "done": In(1),
            "value": In(32),
        }
    )
