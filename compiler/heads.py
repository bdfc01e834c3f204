"""One attention head, and those beside it in other head groups, as instructions."""

from compiler.allocation import Allocation
from compiler.layers import Attention, Head, Lowered
from compiler.program import Schedule
from compiler.token_regions import Region
from spec.assembler import live_rows
from spec.isa import Opcode
from spec.semaphores import Semaphore

__all__ = ["add_head"]


def add_head(
    out: Schedule,
    layer: Attention,
    head: Head,
    plan: Allocation,
    lowered: Lowered,
    query: Region,
    target: Region,
    *,
    wait: set[Semaphore],
    signal: set[Semaphore],
    token_signal: Semaphore | None = None,
) -> None:
    """Append a head over all live tokens; its context goes to `target`."""
    if head.beside:
        out.add(layer.name, Opcode.HEAD_SCALES, head.scales_beside)
    out.add(
        layer.name,
        Opcode.ATTENTION,
        {
            "query": query.base,
            "query_stride": query.stride,
            "key": plan.key_row,
            "value": plan.value_row,
            "head_words": lowered.packing.head_words,
            "head_dim": lowered.model.config.head_dim,
            "target": target.base,
            "target_stride": target.stride,
            "queries": live_rows(),
            "keys": live_rows(),
            **head.fields,
        },
        wait=wait,
        signal=signal,
        token_signal=token_signal,
        views=head.views,
    )
