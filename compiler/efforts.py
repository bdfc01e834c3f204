"""Programs of several efforts: one part an effort, one behind the other, with the same weights.

Each effort is lowered, planned and scheduled on its own, as if it were a model. GATE, in the place
of HALT, ends the program or lets the next part begin as after reset, so no credit, token or setting
goes from one part to the next. What parts load and have in common is in the WEIGHTS window once.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.allocation import MAX_OFFSET, Allocation
from compiler.encoding import Item, weight_items
from compiler.errors import CompileError, need
from compiler.layers import Lowered
from compiler.planning import Candidate
from compiler.program import Schedule
from spec.assembler import Instruction
from spec.config import Config
from spec.efforts import tensor_prefix
from spec.image import ALIGNMENT_BYTES
from spec.isa import Opcode, Window
from spec.model_config import ModelConfig
from spec.model_file import Model

__all__ = ["Part", "SharedWeights", "check_efforts", "first_efforts", "join", "single_efforts"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """The program of one effort, as if it were alone."""

    lowered: Lowered
    allocation: Allocation
    schedule: Schedule
    candidates: tuple[Candidate, ...] = ()
    """What the allocation was chosen from."""


def check_efforts(model: Model, config: Config) -> None:
    """Refuse several efforts on a machine without a gate."""
    count = len(model.config.passes)
    if count > 1 and not config.effort_gate:
        raise CompileError(
            f"efforts: {count} of them need effort_gate, preset '{config.name}' has none "
            "(effort_gate=on)"
        )


def single_efforts(model: Model) -> Iterator[Model]:
    """The model with each of its efforts alone."""
    for effort in model.config.passes:
        alone = () if effort == type(effort)() else (replace(effort, threshold=0),)
        yield replace(model, config=replace(model.config, efforts=alone))


def first_efforts(config: ModelConfig, count: int) -> ModelConfig:
    """The shape with its first `count` efforts only: what a picture takes that needs no more."""
    if count == len(config.passes):
        return config
    *before, last = config.passes[:count]
    return replace(config, efforts=(*before, replace(last, threshold=0)))


@dataclass(kw_only=True)
class SharedWeights:
    """The WEIGHTS window while it is being filled."""

    places: dict[tuple[Any, ...], int] = field(default_factory=dict)
    """Item -> where it lies."""
    size: int = 0
    """Bytes."""
    pieces: list[tuple[int, bytes]] = field(default_factory=list)

    def add(self, items: Iterable[Item]) -> dict[int, int]:
        """Put in what is not there yet.

        Returns for the place of each item in its own program the place here. The first program's
        items stay where they are.
        """
        first, moved, turns = not self.places, {}, Counter()
        for item in items:
            turns[item.name, item.kind] += 1
            key = (item.name, item.kind, turns[item.name, item.kind], item.content)
            if first or key not in self.places:
                offset = item.offset if first else self.size
                self.places.setdefault(key, offset)
                self.pieces.append((offset, item.content))
                aligned = -(-len(item.content) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
                self.size = max(self.size, offset + aligned)
                moved[item.offset] = offset
            else:
                moved[item.offset] = self.places[key]
        need("weights", self.size, "bytes of DRAM", MAX_OFFSET, "32-bit offsets")
        return moved

    def window(self) -> NDArray[np.uint8]:
        """All of it, uint8 [bytes]."""
        out = np.zeros(self.size, np.uint8)
        for offset, content in self.pieces:
            out[offset : offset + len(content)] = np.frombuffer(content, np.uint8)
        return out


def join(model: Model, parts: Sequence[Part]) -> tuple[Schedule, SharedWeights]:
    """The parts as one program, and what it loads.

    Tensors and instructions get the prefix of their effort, if there are several.
    """
    out, weights = Schedule(), SharedWeights()
    for number, part in enumerate(parts):
        prefix, first = tensor_prefix(number, len(parts)), len(out.instructions)
        moved = weights.add(weight_items(part.lowered, part.allocation))
        places = sorted(moved)
        instructions = [_relocated(op, places, moved) for op in part.schedule.instructions]
        if number < len(parts) - 1:
            instructions[-1] = _gate(model, number, part.allocation)
        out.instructions += instructions
        out.names += [prefix + name for name in part.schedule.names]
        for name, views in part.schedule.parts.items():
            out.parts[prefix + name] = [replace(view, pc=first + view.pc) for view in views]
    return out, weights


def _relocated(op: Instruction, places: Sequence[int], moved: Mapping[int, int]) -> Instruction:
    """An instruction that loads a whole item, or a piece of one, from its new place.

    places : of all items, ascending
    """
    from_weights = op.opcode in (Opcode.LOAD_WEIGHTS, Opcode.LOAD_NORM)
    if not from_weights and op.fields.get("window") != Window.WEIGHTS:
        return op
    offset = op.fields["offset"]
    item = places[bisect_right(places, offset) - 1]
    return replace(op, fields={**op.fields, "offset": moved[item] + offset - item})


def _gate(model: Model, number: int, allocation: Allocation) -> Instruction:
    """What is in the place of HALT behind effort `number`."""
    effort = model.config.passes[number]
    multiplier, shift = model.gate_scale
    return Instruction(
        opcode=Opcode.GATE,
        fields={
            "token": allocation.regions["result"].base,
            "classes": model.config.classes,
            "multiplier": multiplier,
            "shift": shift,
            "threshold": effort.threshold,
            "skipped": len(effort.skipped),
        },
    )
