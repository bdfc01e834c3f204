"""Names of the regions of token memory, which in tiles of tokens change their parts."""

from compiler.tiling import Tiling

__all__ = ["TURNS", "region_name"]

TURNS = ("even", "odd")
"""Regions of normalised tokens and of the context, in tiles of tokens."""


def region_name(name: str, block: int, mlp: bool, tiling: Tiling) -> str:
    """The region that holds `norm`, `context` or another tensor in an encoder block.

    mlp : norm2's rows, not norm1's
    """
    if tiling.spilled and name in ("norm", "context"):
        return "rows" if mlp or name == "context" else "tokens"
    turn = tiling.attentions(block)
    if tiling.spilled or not tiling.tokens:
        return name
    if name == "hidden":
        return f"{name} {TURNS[(tiling.attentions(block + 1) - 1) % 2]}"
    if name.startswith("selector."):
        return f"{name} {TURNS[turn % 2]}"
    if name not in ("norm", "context"):
        return name
    return TURNS[(tiling.attentions(block + 1) if mlp or name == "context" else turn) % 2]
