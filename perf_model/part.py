"""A part of a program in time: all of it, or up to a GATE, or from one GATE to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from perf_model.array import Array
from perf_model.bus import Bus
from perf_model.dram import Dram
from perf_model.executor import Executor
from perf_model.operations import ArrayOperation, NormOperation, Operation, operations_of
from perf_model.selection import PredictionError, Selection
from perf_model.storer import Storer
from perf_model.timeline import NEVER, InstructionQueue
from perf_model.vector import Vector
from perf_model.work import Work
from rtl_gen.effort_gate.entropy_gate import EntropyGate
from spec.assembler import Instruction
from spec.config import Config
from spec.isa import Opcode, program_parts
from spec.semaphores import Queue

__all__ = ["RESTART_CYCLES", "Part", "gate_cycles", "parts_of", "run_part"]

RESTART_CYCLES = 2
"""From a gate's answer to the first cycle of the next part: it is noted, and the core is reset."""


def gate_cycles(instruction: Instruction) -> int:
    """Cycles from the rest before a GATE or HALT to its answer."""
    if instruction.opcode == Opcode.HALT:
        return 0
    return EntropyGate.cycles(instruction.fields["classes"])


def parts_of(instructions: Sequence[Instruction], efforts: int) -> list[range]:
    """Program counters of the parts that are run.

    efforts : how many; 0: all up to HALT

    Raises `PredictionError` if there are not so many.
    """
    parts = program_parts(op.opcode.value for op in instructions)
    if not parts or not 0 <= efforts <= len(parts):
        raise PredictionError(f"the program has {len(parts)} efforts, not {efforts or 1}")
    return parts[: efforts or len(parts)]


@dataclass(kw_only=True)
class Part:
    """What has run."""

    program: list[Operation]
    array: Array
    vector: Vector
    storer: Storer
    load_ends: dict[int, int]
    rest: int
    """The first cycle in which GATE or HALT has been reached and all is at rest."""


def run_part(
    pcs: range,
    instructions: Sequence[Instruction],
    config: Config,
    dram: Dram,
    bus: Bus,
    start: int,
    selections: Mapping[int, Selection],
    work: Mapping[int, Work] | None,
    marks: Sequence[int],
) -> Part:
    """Run instructions `pcs` of a program from cycle `start` on; all but `bus` are new."""
    array = Array(config)
    array.marks = {pc: (0, {}) for pc in marks if pc in pcs}
    vector = Vector(config, array)
    storer = Storer(config, dram, array, vector)
    executors: dict[Queue, Executor] = {
        Queue.LOAD: bus,
        Queue.ARRAY: array,
        Queue.VECTOR: vector,
        Queue.STORE: storer,
    }
    for unit in (array, vector, storer):
        unit.queue, unit.fetch = InstructionQueue(config.queue_depth, bus, unit), bus
        unit.time = start
    own = instructions[pcs.start : pcs.stop]
    program = operations_of(own, config, executors, selections, work, pcs.start)
    bus.begin(start, array, vector)
    bus.add(program, executors)
    array.program = [op for op in program if isinstance(op, ArrayOperation)]
    vector.program = [op for op in program if isinstance(op, NormOperation)]
    units = (array, vector, storer, bus)
    while any(unit.time < NEVER for unit in units):
        progress = [unit.run() for unit in units]
        if not any(progress):
            times = ", ".join(f"{type(unit).__name__} {unit.time}" for unit in units)
            raise RuntimeError(f"the program stands still: {times}")
    if any(unit.queue.given() for unit in units):
        raise RuntimeError("the program ends before all its instructions")
    rest = max(
        bus.halted,
        array.idle_from(),
        vector.idle_from(),
        storer.idle_from,
        bus.idle_from(),
        *(unit.queue.takes[-1] + 1 for unit in (array, vector, storer) if unit.queue.takes),
    )
    return Part(
        program=program,
        array=array,
        vector=vector,
        storer=storer,
        load_ends=bus.data.ends,
        rest=rest,
    )
