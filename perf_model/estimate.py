"""What a model takes on a machine, without weights: its program, run in time.

Dense timing does not depend on data, so any weights do: the program is compiled from a model of
zeros. What masks and zeros leave is not known here: see `perf_model.work`.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler import compile_program
from perf_model.dram import Dram
from perf_model.machine import Prediction, dram_bytes, predict
from perf_model.operations import ArrayOperation
from perf_model.roofline import roofline
from perf_model.selection import PredictionError
from spec.assembler import Instruction
from spec.config import Config
from spec.dram import DramTiming
from spec.model_config import ModelConfig
from spec.model_file import FLOAT_PREFIX, Model, tensor_table
from spec.semaphores import Queue

__all__ = ["Layer", "estimate", "layers_of", "program_of"]

BLOCKS = 4
"""Encoder blocks that are run of a deeper model."""
TOLERANCE = 1e-4
"""Share by which two blocks may differ and still stand for others."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer that uses the array; see `layers_of`."""

    name: str
    cycles: int
    macs: int
    bytes: int
    """Moved to and from DRAM on its behalf."""
    roofline_cycles: int
    """The larger of its MACs over the array's and its bytes over the bus's."""


def program_of(model: ModelConfig, config: Config) -> tuple[list[Instruction], list[str]]:
    """The instructions of a model of that shape, and their names; `CompileError` if none fits.

    Nothing is known of zeros, so none are skipped. `PredictionError` for a model with masks.
    """
    if any(model.masks):
        raise PredictionError(
            "the cycles of a model with masks depend on which scores they keep: "
            "sievit sieves, or sievit run --preset, predicts its images"
        )
    tensors = {
        name: np.broadcast_to(np.zeros((), dtype), shape)
        for name, (dtype, shape) in tensor_table(model).items()
        if not name.startswith(FLOAT_PREFIX)
    }
    dense = dataclasses.replace(config, zero_skip=False)
    schedule = compile_program(Model(config=model, tensors=tensors), dense)
    return schedule.instructions, schedule.names


def estimate(
    model: ModelConfig,
    name: str,
    config: Config,
    dram: str,
    timing: DramTiming,
    all_blocks: bool = False,
    live: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Predict one image's run.

    Of a deep model without stages and efforts the first `BLOCKS` - 1 encoder blocks and the last
    are run; the one before the last stands for those in between, if it takes as long as the one
    before it.

    name, dram : of the model and of the memory, for the report
    all_blocks : run every block
    live : tokens behind each stage, the package among them; if not given, no stage drops any. Of a
        model of several efforts, all of which are run, one effort after the other
    Returns a report, see `spec.reports.PREDICTION`.
    """
    began = time.perf_counter()
    run = None
    if live is None:
        live = [model.tokens] * (len(model.stages) * len(model.passes))
    if model.depth > BLOCKS and not all_blocks and not (model.stages or model.efforts):
        run = _run_few(model, config, Dram(timing))
    run = run or _run(model, config, Dram(timing), live)
    bound = roofline(model, config, live)
    return {
        "model": name,
        "preset": config.name,
        "dram": dram,
        "latency": timing.latency,
        "bandwidth": timing.bandwidth,
        "instructions": run.instructions,
        "cycles": run.cycles,
        "array_busy_cycles": run.busy,
        "stalls": run.stalls,
        "macs_done": run.macs,
        "dram_bytes": run.dram_bytes,
        "roofline_cycles": bound.cycles,
        "roofline_ratio": run.cycles / bound.cycles,
        "utilization": run.macs / (config.macs * run.cycles),
        "blocks_inferred": run.inferred,
        "live": list(live),
        "layers": [
            {
                "name": layer.name,
                "cycles": layer.cycles,
                "macs": layer.macs,
                "dram_bytes": layer.bytes,
                "roofline_cycles": layer.roofline_cycles,
            }
            for layer in run.layers
        ],
        "wall_s": time.perf_counter() - began,
    }


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A prediction, perhaps with more blocks than were run."""

    instructions: int
    cycles: int
    busy: int
    stalls: dict[str, int]
    macs: int
    dram_bytes: dict[str, int]
    inferred: int
    layers: list[Layer]


def _run(model: ModelConfig, config: Config, dram: Dram, live: Sequence[int]) -> _Run:
    instructions, names = program_of(model, config)
    found = predict(instructions, config, dram, live=live)
    return _Run(
        instructions=len(instructions),
        cycles=found.cycles,
        busy=found.array_busy_cycles,
        stalls=found.stalls,
        macs=found.macs,
        dram_bytes=found.dram_bytes,
        inferred=0,
        layers=layers_of(found, names, config),
    )


def _run_few(model: ModelConfig, config: Config, dram: Dram) -> _Run | None:
    """Run `BLOCKS` blocks and repeat the last but one; None if it does not repeat."""
    instructions, names = program_of(dataclasses.replace(model, depth=BLOCKS), config)
    firsts = [
        next(
            pc
            for pc, (op, name) in enumerate(zip(instructions, names, strict=True))
            if op.queue == Queue.ARRAY and name.startswith(f"blocks.{block}.")
        )
        for block in range(BLOCKS)
    ]
    found = predict(instructions, config, dram, marks=firsts)
    begins = [found.starts[pc] for pc in firsts]
    period = begins[-1] - begins[-2]
    if abs(period - (begins[-2] - begins[-3])) > period * TOLERANCE:
        return None
    more = model.depth - BLOCKS
    block = found.program[firsts[-2] : firsts[-1]]
    (busy, stalls), (busy_after, stalls_after) = (found.marks[pc] for pc in firsts[-2:])
    moved = dram_bytes(block, config)
    macs = sum(op.macs for op in block if isinstance(op, ArrayOperation))
    return _Run(
        instructions=len(instructions) + more * len(block),
        cycles=found.cycles + more * period,
        busy=found.array_busy_cycles + more * (busy_after - busy),
        stalls={
            cause: count + more * (stalls_after[cause] - stalls[cause])
            for cause, count in found.stalls.items()
        },
        macs=found.macs + more * macs,
        dram_bytes={kind: count + more * moved[kind] for kind, count in found.dram_bytes.items()},
        inferred=more,
        layers=_repeated(layers_of(found, names, config), more),
    )


def _repeated(layers: list[Layer], more: int) -> list[Layer]:
    """`more` blocks like the last but one behind it."""
    out: list[Layer] = []
    for number in range(BLOCKS + more):
        last = number == BLOCKS + more - 1
        source = BLOCKS - 1 if last else min(number, BLOCKS - 2)
        prefix = f"blocks.{source}."
        out += [
            dataclasses.replace(layer, name=f"blocks.{number}.{layer.name.removeprefix(prefix)}")
            for layer in layers
            if layer.name.startswith(prefix)
        ]
    inner = [n for n, layer in enumerate(layers) if layer.name.startswith("blocks.")]
    return layers[: inner[0]] + out + layers[inner[-1] + 1 :]


def layers_of(found: Prediction, names: Sequence[str], config: Config) -> list[Layer]:
    """The array's time by layer, in program order; the sum is the whole run.

    A layer has the array from the cycle in which its instructions leave the queue to the cycle in
    which the next one's does. What does not use the array (loads, LayerNorm) has no cycles of its
    own: where the array waits for it, the layer that waits has them. Its bytes count for the layer
    of its name, or else for the next one that uses the array.
    """
    cycles: dict[str, int] = {}
    macs: dict[str, int] = {}
    moved: dict[str, int] = {}
    runs = [op for op in found.program if isinstance(op, ArrayOperation)]
    starts = [0, *(found.starts[op.pc] for op in runs[1:]), found.cycles]
    for op, start, end in zip(runs, starts, starts[1:], strict=False):
        name = names[op.pc]
        cycles[name] = cycles.get(name, 0) + end - start
        macs[name] = macs.get(name, 0) + op.macs
    owner = names[runs[-1].pc]
    for op in reversed(found.program):
        if names[op.pc] in cycles:
            owner = names[op.pc]
        if op.beats:
            moved[owner] = moved.get(owner, 0) + op.beats * config.bus_bytes
    return [
        Layer(
            name=name,
            cycles=count,
            macs=macs[name],
            bytes=moved.get(name, 0),
            roofline_cycles=max(
                -(-macs[name] // config.macs), -(-moved.get(name, 0) // config.bus_bytes)
            ),
        )
        for name, count in cycles.items()
    ]
