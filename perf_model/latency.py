"""HeatViT's latency-sparsity table (its Table IV) for a model's shape on our machine."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from perf_model.dram import Dram
from perf_model.estimate import program_of
from perf_model.machine import predict
from spec.assembler import Instruction
from spec.config import Config
from spec.dram import DramTiming
from spec.model_config import ModelConfig, Stage
from spec.semaphores import Queue

__all__ = ["KEEP", "latency_table"]

KEEP = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Shares of the patches."""
BLOCKS = 4
"""Encoder blocks that are run: the second has the selector, the third and fourth repeat."""


def latency_table(
    model: ModelConfig, name: str, config: Config, dram: str, timing: DramTiming
) -> dict[str, Any]:
    """Cycles of an encoder block for each share of the patches.

    A program of `BLOCKS` blocks with a selector before the second is run in time for each share.
    The selector scores all tokens; the package row counts as a token of the block. A block lasts
    from the array's first instruction of it to that of the next one.

    name, dram : of the model and of the memory, for the report
    Returns a report, see `spec.reports.LATENCY`.
    """
    began = time.perf_counter()
    dense = replace(model, depth=BLOCKS, stages=(), package="weighted", packages="merged")
    sieved = replace(dense, stages=(Stage(block=1, rule="selector"),))
    program, names = program_of(sieved, config)
    starts = [_first(program, names, f"blocks.{block}.") for block in range(BLOCKS)]
    behind = _first(program, names, "blocks.1.attn.")
    tokens, with_selector, alone, scoring = [], [], [], []
    for keep in KEEP:
        patches = round(keep * model.patches)
        count = model.prefix_tokens + patches + (patches < model.patches)
        found = predict(program, config, Dram(timing), live=[count])
        begins = [found.starts[pc] for pc in starts]
        tokens.append(count)
        with_selector.append(begins[2] - begins[1])
        alone.append(begins[3] - begins[2])
        scoring.append(found.starts[behind] - begins[1])
    plain, plain_names = program_of(dense, config)
    found = predict(plain, config, Dram(timing))
    starts = [_first(plain, plain_names, f"blocks.{block}.") for block in range(BLOCKS)]
    begins = [found.starts[pc] for pc in starts]
    return {
        "model": name,
        "preset": config.name,
        "dram": dram,
        "latency": timing.latency,
        "bandwidth": timing.bandwidth,
        "depth": model.depth,
        "keep": list(KEEP),
        "tokens": tokens,
        "block_cycles": with_selector,
        "block_cycles_dense": alone,
        "selector_cycles": scoring,
        "fixed_cycles": found.cycles - (begins[-1] - begins[0]) - (begins[-1] - begins[-2]),
        "wall_s": time.perf_counter() - began,
    }


def _first(program: Sequence[Instruction], names: Sequence[str], prefix: str) -> int:
    """The array's first instruction of a layer whose name begins so."""
    return next(
        pc
        for pc, (op, name) in enumerate(zip(program, names, strict=True))
        if op.queue == Queue.ARRAY and name.startswith(prefix)
    )
