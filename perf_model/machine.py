"""The whole machine in time: the units run ahead of each other until all have come to rest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from perf_model.array import Array
from perf_model.bus import Bus
from perf_model.dram import Dram
from perf_model.executor import Executor
from perf_model.operations import (
    ArrayOperation,
    LoadOperation,
    NormOperation,
    Operation,
    StoreOperation,
    operations_of,
)
from perf_model.selection import PredictionError, selections_of
from perf_model.storer import Storer
from perf_model.timeline import NEVER, InstructionQueue
from perf_model.vector import Vector
from perf_model.work import Work
from spec.assembler import Instruction
from spec.config import Config
from spec.isa import INSTRUCTION_BYTES
from spec.reports import DRAM_KINDS
from spec.semaphores import Queue

__all__ = ["Prediction", "PredictionError", "predict"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a run of a program takes: the machine's counters, and when each instruction ran."""

    cycles: int
    array_busy_cycles: int
    stalls: dict[str, int]
    macs: int
    skipped: dict[str, int]
    """Multiplications left out, by cause: `masked`, `zero`."""
    idle_banks: int
    """Banks that took no part in a step of sparse work, over all steps."""
    index_words: int
    """Token-memory words of lists that were used."""
    dram_bytes: dict[str, int]
    starts: dict[int, int]
    """Cycle in which each instruction leaves its queue."""
    ends: dict[int, int]
    """Cycle of each instruction's last write."""
    marks: dict[int, tuple[int, dict[str, int]]]
    """Busy cycles and stalls before each of the instructions that were asked for."""
    program: list[Operation]


def predict(
    instructions: Sequence[Instruction],
    config: Config,
    dram: Dram,
    marks: Sequence[int] = (),
    live: Sequence[int] = (),
    first_dropped: Sequence[int | None] = (),
    work: Mapping[int, Work] | None = None,
) -> Prediction:
    """Run a program in time.

    marks : array instructions at whose start to note busy cycles and stalls
    live, first_dropped : tokens alive behind each selection, and the row that each drops first, see
        `selections_of`
    work : by program counter, what masks and zeros leave of the array's instructions; needed for
        programs that skip them
    """
    if config.head_groups > 1:
        raise PredictionError(
            f"preset '{config.name}': only machines of one head group are predicted, "
            f"not of {config.head_groups} (head_groups); sievit simulate runs it"
        )
    array = Array(config)
    array.marks = dict.fromkeys(marks, (0, {}))
    vector = Vector(config, array)
    storer = Storer(config, dram, array, vector)
    bus = Bus(config, dram, array, vector)
    executors: dict[Queue, Executor] = {
        Queue.LOAD: bus,
        Queue.ARRAY: array,
        Queue.VECTOR: vector,
        Queue.STORE: storer,
    }
    selections = selections_of(instructions, live, first_dropped)
    program = operations_of(instructions, config, executors, selections, work)
    for unit in executors.values():
        unit.queue, unit.fetch = InstructionQueue(config.queue_depth, bus, unit), bus
    bus.start(program, executors)
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
    end = max(
        bus.halted,
        array.idle_from(),
        vector.idle_from(),
        storer.idle_from,
        bus.idle_from(),
        *(unit.queue.takes[-1] + 1 for unit in (array, vector, storer) if unit.queue.takes),
    )
    stalls = dict(array.stalls)
    stalls["drain"] += end - array.idle_since
    left = [op.left for op in array.program if op.left is not None]
    return Prediction(
        cycles=end,
        array_busy_cycles=array.busy,
        stalls=stalls,
        macs=sum(op.macs for op in program if isinstance(op, ArrayOperation)),
        skipped={cause: sum(getattr(each, cause) for each in left) for cause in ("masked", "zero")},
        idle_banks=array.sources.sparse_steps * config.banks
        - sum(each.banks_used for each in left),
        index_words=array.sources.walker.words_used,
        dram_bytes=dram_bytes(program, config),
        starts={**array.starts, **vector.starts, **storer.starts, **bus.starts},
        marks=array.marks,
        program=program,
        ends={**array.epilogue.ends, **vector.ends, **storer.ends, **bus.data.ends},
    )


def dram_bytes(program: Iterable[Operation], config: Config) -> dict[str, int]:
    """Bytes moved, by window."""
    total = dict.fromkeys(DRAM_KINDS, 0)
    for operation in program:
        total["program"] += INSTRUCTION_BYTES
        if isinstance(operation, (LoadOperation, StoreOperation)):
            total[operation.window.name.lower()] += operation.beats * config.bus_bytes
    return total
