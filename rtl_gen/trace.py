"""The trace ports: every write of a result, for tests."""

from amaranth.lib import data

from rtl_gen.buffers.row_memory import row_trace_layout
from rtl_gen.buffers.token_memory import token_trace_layout
from rtl_gen.interfaces import PC_BITS
from spec.config import Config

__all__ = ["trace_layout"]


def trace_layout(config: Config) -> dict[str, data.StructLayout]:
    """Every write of a result, as the trace ports report it: one layout for each kind.

    A row that goes to all banks is one write, of bank number `banks`. With several head groups,
    every field but those of token writes holds one value for each.
    """
    lanes, banks, groups = config.lanes, config.banks, config.head_groups
    kinds = {
        "token": token_trace_layout(lanes),
        "row": row_trace_layout(banks, lanes, config.attention_masks),
        "score": data.StructLayout({"valid": 1, "pc": PC_BITS, "mask": banks, "data": banks * 16}),
        "prob": data.StructLayout({"valid": 1, "pc": PC_BITS, "data": banks * 8}),
    }
    if groups == 1:
        return kinds
    return {
        kind: layout
        if kind == "token"
        else data.StructLayout(
            {name: data.ArrayLayout(shape, groups) for name, shape in layout.members.items()}
        )
        for kind, layout in kinds.items()
    }
