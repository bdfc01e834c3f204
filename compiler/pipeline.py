"""The compiler as a whole: a model and a machine in, an image out."""

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np

from compiler.allocation import Allocation
from compiler.encoding import encode_program, encode_weights
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
from spec.image import MAX_INSTRUCTIONS, Image, InputGeometry, ResultGeometry, TensorMap
from spec.model_file import FLOAT_PREFIX, Model

__all__ = ["Compilation", "compile", "compile_program", "compile_steps", "finish", "model_digest"]

REPLICATED = (MAX_REPLICATED, MAX_REPLICATED // 4, 0)
"""Keys in all banks, at most: they take room in row memory."""


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """The result of each step."""

    lowered: Lowered
    allocation: Allocation
    schedule: Schedule
    image: Image
    candidates: tuple[Candidate, ...]
    """What the allocation was chosen from."""

    def describe(self) -> str:
        """All steps as text."""
        steps = (self.lowered, self.allocation, self.schedule)
        return "\n\n".join(step.describe() for step in steps)


def compile(model: Model, config: Config) -> Image:
    """Compile a model for a machine; `CompileError` says what does not fit."""
    return compile_steps(model, config).image


def compile_steps(model: Model, config: Config) -> Compilation:
    """Compile, and keep what each step made."""
    found = _planned(model, config)
    return finish(model, config, found.chosen, found.candidates)


def compile_program(model: Model, config: Config) -> Schedule:
    """The program alone, neither verified nor encoded; any weights do."""
    return _schedule(_planned(model, config).chosen)


def _planned(model: Model, config: Config) -> Plan:
    """The plan; of a model with masks with as many keys in all banks as there is room for."""
    refusals: list[CompileError] = []
    for replicated in REPLICATED if any(model.config.masks) else (0,):
        try:
            return plan(lower(model, config, replicated), config)
        except CompileError as refusal:
            refusals.append(refusal)
    raise refusals[-1]


def _schedule(candidate: Candidate) -> Schedule:
    scheduler = Scheduler
    if candidate.allocation.tiling.spilled:
        selects = candidate.lowered.model.config.stages
        scheduler = SelectingScheduler if selects else SpillingScheduler
    return scheduler(candidate.lowered, candidate.allocation).run()


def finish(
    model: Model, config: Config, candidate: Candidate, candidates: tuple[Candidate, ...] = ()
) -> Compilation:
    """The steps after the choice."""
    lowered, allocation = candidate.lowered, candidate.allocation
    program = _schedule(candidate)
    count = len(program.instructions)
    need("program", count, "instructions", MAX_INSTRUCTIONS, "width of the program counter")
    verify(program.instructions, config, lowered.key_groups)
    shape, regions = model.config, allocation.regions
    image = Image(
        program=encode_program(program),
        weights=encode_weights(lowered, allocation),
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
        scratch_bytes=allocation.scratch_bytes,
        tensors={
            name: TensorMap(
                shape=entry.shape,
                dtype=entry.dtype,
                parts=tuple(program.parts[name]),
                stages=entry.stages,
                live_axes=entry.live_axes if shape.stages else (),
            )
            for name, entry in intermediate_tensors(shape).items()
        },
        names=tuple(program.names),
    )
    return Compilation(
        lowered=lowered,
        allocation=allocation,
        schedule=program,
        image=image,
        candidates=candidates,
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
