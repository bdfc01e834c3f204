"""The compiler as a whole: a model and a machine in, an image out."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from compiler.allocation import Allocation
from compiler.efforts import Part, check_efforts, join, single_efforts
from compiler.encoding import encode_program
from compiler.errors import CompileError, need
from compiler.layers import Lowered
from compiler.lowering import lower
from compiler.mask_lists import MAX_REPLICATED
from compiler.planning import Candidate, Plan, plan
from compiler.program import Schedule
from compiler.scheduling import Scheduler
from compiler.spilled_selection import SelectingScheduler
from compiler.spilling import SpillingScheduler
from compiler.tensors import intermediate_tensors
from compiler.verification import verify
from spec.config import Config
from spec.efforts import tensor_prefix
from spec.image import MAX_INSTRUCTIONS, Image, InputGeometry, ResultGeometry, TensorMap
from spec.isa import program_parts
from spec.model_file import FLOAT_PREFIX, Model

__all__ = ["Compilation", "compile", "compile_program", "compile_steps", "finish", "model_digest"]

REPLICATED = (MAX_REPLICATED, MAX_REPLICATED // 4, 0)
"""Keys in all banks, at most: they take room in row memory."""


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """The result of each step."""

    parts: tuple[Part, ...]
    """Of each effort."""
    schedule: Schedule
    """All parts as one program."""
    image: Image
    shared_bytes: int
    """Of WEIGHTS, that parts have in common: so many more they would take each for itself."""

    @property
    def lowered(self) -> Lowered:
        """Layers of the last effort."""
        return self.parts[-1].lowered

    @property
    def allocation(self) -> Allocation:
        """Addresses of the last effort."""
        return self.parts[-1].allocation

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """What the allocation of the last effort was chosen from."""
        return self.parts[-1].candidates

    def describe(self) -> str:
        """All steps as text."""
        steps = []
        for number, part in enumerate(self.parts):
            steps += [f"effort {number}"] if len(self.parts) > 1 else []
            steps += [part.lowered.describe(), part.allocation.describe()]
        return "\n\n".join([*steps, self.schedule.describe()])


def compile(model: Model, config: Config) -> Image:
    """Compile a model for a machine; `CompileError` says what does not fit."""
    return compile_steps(model, config).image


def compile_steps(model: Model, config: Config) -> Compilation:
    """Compile, and keep what each step made."""
    check_efforts(model, config)
    parts = []
    for alone in single_efforts(model):
        found = _planned(alone, config)
        parts.append(_part(found.chosen, found.candidates))
    return _joined(model, config, parts)


def compile_program(model: Model, config: Config) -> Schedule:
    """The program alone, neither verified nor encoded; any weights do."""
    check_efforts(model, config)
    parts = [_part(_planned(alone, config).chosen) for alone in single_efforts(model)]
    return parts[0].schedule if len(parts) == 1 else join(model, parts)[0]


def _planned(model: Model, config: Config) -> Plan:
    """The plan; of a model with masks with as many keys in all banks as there is room for."""
    refusals: list[CompileError] = []
    for replicated in REPLICATED if any(model.config.masks) else (0,):
        try:
            return plan(lower(model, config, replicated), config)
        except CompileError as refusal:
            refusals.append(refusal)
    raise refusals[-1]


def _part(candidate: Candidate, candidates: tuple[Candidate, ...] = ()) -> Part:
    """The program of one effort."""
    scheduler = Scheduler
    if candidate.allocation.tiling.spilled:
        selects = candidate.lowered.model.config.stages
        scheduler = SelectingScheduler if selects else SpillingScheduler
    lowered, allocation = candidate.lowered, candidate.allocation
    return Part(
        lowered=lowered,
        allocation=allocation,
        schedule=scheduler(lowered, allocation).run(),
        candidates=candidates,
    )


def finish(
    model: Model, config: Config, candidate: Candidate, candidates: tuple[Candidate, ...] = ()
) -> Compilation:
    """The steps after the choice, for a model of one effort."""
    return _joined(model, config, [_part(candidate, candidates)])


def _joined(model: Model, config: Config, parts: list[Part]) -> Compilation:
    """The parts as one program, verified and encoded."""
    program, weights = join(model, parts)
    count = len(program.instructions)
    need("program", count, "instructions", MAX_INSTRUCTIONS, "width of the program counter")
    opcodes = [op.opcode.value for op in program.instructions]
    for part, own in zip(parts, program_parts(opcodes), strict=True):
        instructions = program.instructions[own.start : own.stop]
        verify(instructions, config, part.lowered.key_groups)
    shape, regions = model.config, parts[-1].allocation.regions
    image = Image(
        program=encode_program(program),
        weights=weights.window(),
        config_name=config.name,
        config_digest=config.digest(),
        model_digest=model_digest(model),
        model=json.loads(json.dumps(asdict(shape))),
        input=InputGeometry(
            rows=shape.patches,
            columns=shape.patch_dim,
            row_bytes=regions["patches"].stride * config.lanes,
        ),
        result=ResultGeometry(
            classes=shape.classes, words=regions["result"].stride, word_bytes=config.lanes
        ),
        scratch_bytes=max(part.allocation.scratch_bytes for part in parts),
        tensors=dict(_tensors(parts, program)),
        names=tuple(program.names),
    )
    alone = sum(part.allocation.weights_bytes for part in parts)
    return Compilation(
        parts=tuple(parts), schedule=program, image=image, shared_bytes=alone - weights.size
    )


def _tensors(parts: list[Part], program: Schedule) -> Iterator[tuple[str, TensorMap]]:
    """The tensors of all parts, by name."""
    for number, part in enumerate(parts):
        shape = part.lowered.model.config
        for own, entry in intermediate_tensors(shape).items():
            name = tensor_prefix(number, len(parts)) + own
            yield (
                name,
                TensorMap(
                    shape=entry.shape,
                    dtype=entry.dtype,
                    parts=tuple(program.parts[name]),
                    stages=entry.stages,
                    live_axes=entry.live_axes if shape.stages else (),
                ),
            )


def model_digest(model: Model) -> str:
    """SHA-256 over the configuration and the integer tensors of a model, in hex."""
    digest = hashlib.sha256(json.dumps(asdict(model.config), sort_keys=True).encode())
    for name in sorted(model.tensors):
        if not name.startswith(FLOAT_PREFIX):
            tensor = np.ascontiguousarray(model.tensors[name])
            digest.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
            digest.update(tensor.tobytes())
    return digest.hexdigest()
