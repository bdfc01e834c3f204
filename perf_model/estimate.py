"""What a model takes on a machine, without weights: its program, run in time.

Timing does not depend on data, so any weights do: the program is compiled from a model of zeros.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler import compile_program
from perf_model.dram import Dram
from perf_model.machine import Prediction, predict
from perf_model.operations import ArrayOperation
from perf_model.roofline import roofline
from spec.assembler import Instruction
from spec.config import Config
from spec.dram import DramTiming
from spec.model_config import ModelConfig
from spec.model_file import FLOAT_PREFIX, Model, tensor_table

__all__ = ["Layer", "estimate", "layers_of", "program_of"]

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
    """The instructions of a model of that shape, and their names; `CompileError` if none fits."""
    tensors = {
        name: np.broadcast_to(np.zeros((), dtype), shape)
        for name, (dtype, shape) in tensor_table(model).items()
        if not name.startswith(FLOAT_PREFIX)
    }
    schedule = compile_program(Model(config=model, tensors=tensors), config)
    return schedule.instructions, schedule.names


def estimate(model: ModelConfig, name: str, config: Config, dram: str, timing: DramTiming) -> dict[str, Any]:
    """Predict one image's run.

    name, dram : of the model and of the memory, for the report
    Returns a report, see `spec.reports.PREDICTION`.
    """
    began = time.perf_counter()
    instructions, names = program_of(model, config)
    found = predict(instructions, config, Dram(timing))
    bound = roofline(model, config)
    layers = layers_of(found, names, config)
    return {
        "model": name,
        "preset": config.name,
        "dram": dram,
        "latency": timing.latency,
        "bandwidth": timing.bandwidth,
        "instructions": len(instructions),
        "cycles": found.cycles,
        "array_busy_cycles": found.array_busy_cycles,
        "stalls": found.stalls,
        "macs_done": found.macs,
        "dram_bytes": found.dram_bytes,
        "roofline_cycles": bound.cycles,
        "roofline_ratio": found.cycles / bound.cycles,
        "utilization": found.macs / (config.macs * found.cycles),
        "layers": [
            {
                "name": layer.name,
                "cycles": layer.cycles,
                "macs": layer.macs,
                "dram_bytes": layer.bytes,
                "roofline_cycles": layer.roofline_cycles,
            }
            for layer in layers
        ],
        "wall_s": time.perf_counter() - began,
    }


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
