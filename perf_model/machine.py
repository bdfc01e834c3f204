"""The whole machine in time: the units run ahead of each other until all have come to rest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from perf_model.bus import Bus
from perf_model.dram import Dram
from perf_model.operations import ArrayOperation, LoadOperation, Operation, StoreOperation
from perf_model.part import RESTART_CYCLES, Part, gate_cycles, parts_of, run_part
from perf_model.selection import PredictionError, selections_of
from perf_model.work import Work
from spec.assembler import Instruction
from spec.config import Config
from spec.isa import INSTRUCTION_BYTES, Opcode
from spec.registers import STALLS
from spec.reports import DRAM_KINDS

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
    efforts: int
    """Parts that were run."""
    attentions_skipped: int


def predict(
    instructions: Sequence[Instruction],
    config: Config,
    dram: Dram,
    marks: Sequence[int] = (),
    live: Sequence[int] = (),
    first_dropped: Sequence[int | None] = (),
    work: Mapping[int, Work] | None = None,
    efforts: int = 0,
) -> Prediction:
    """Run a program in time.

    marks : array instructions at whose start to note busy cycles and stalls
    live, first_dropped : tokens alive behind each selection, and the row that each drops first, see
        `selections_of`
    work : by program counter, what masks and zeros leave of the array's instructions; needed for
        programs that skip them
    efforts : parts that are run: the GATE behind the last of them is certain; 0: all, up to HALT.
        `live` and `first_dropped` go through all of them
    """
    if config.head_groups > 1:
        raise PredictionError(
            f"preset '{config.name}': only machines of one head group are predicted, "
            f"not of {config.head_groups} (head_groups); sievit simulate runs it"
        )
    parts = parts_of(instructions, efforts)
    selections = selections_of(instructions[: parts[-1].stop], live, first_dropped)
    bus = Bus(config, dram, len(instructions))
    start, end, busy, noted = 1, 0, 0, {}
    stalls = dict.fromkeys(STALLS, 0)
    done: list[Part] = []
    for pcs in parts:
        part = run_part(pcs, instructions, config, dram, bus, start, selections, work, marks)
        done.append(part)
        for pc, (before, lost) in part.array.marks.items():
            noted[pc] = busy + before, {name: stalls[name] + lost.get(name, 0) for name in stalls}
        end = part.rest + gate_cycles(instructions[pcs[-1]])
        start = end + RESTART_CYCLES
        busy += part.array.busy
        for name, count in part.array.stalls.items():
            stalls[name] += count
        stalls["drain"] += (end if pcs is parts[-1] else start - 1) - part.array.idle_since
    program = [op for part in done for op in part.program]
    moved = dram_bytes(program, config)
    if instructions[parts[-1][-1]].opcode != Opcode.HALT:
        moved["program"] = bus.fetched_bytes(end)
    left = [op.left for op in program if isinstance(op, ArrayOperation) and op.left is not None]
    steps = sum(part.array.sources.sparse_steps for part in done)
    units = [unit for part in done for unit in (part.array, part.vector, part.storer)]
    return Prediction(
        cycles=end,
        array_busy_cycles=busy,
        stalls=stalls,
        macs=sum(op.macs for op in program if isinstance(op, ArrayOperation)),
        skipped={cause: sum(getattr(each, cause) for each in left) for cause in ("masked", "zero")},
        idle_banks=steps * config.banks - sum(each.banks_used for each in left),
        index_words=sum(part.array.sources.walker.words_used for part in done),
        dram_bytes=moved,
        starts=_joined(*(unit.starts for unit in units), bus.starts),
        marks=noted,
        program=program,
        ends=_joined(
            *(part.array.epilogue.ends for part in done),
            *(unit.ends for part in done for unit in (part.vector, part.storer)),
            *(part.load_ends for part in done),
        ),
        efforts=len(parts),
        attentions_skipped=sum(instructions[pcs[-1]].fields["skipped"] for pcs in parts),
    )


def _joined(*times: Mapping[int, int]) -> dict[int, int]:
    return {pc: time for each in times for pc, time in each.items()}


def dram_bytes(program: Iterable[Operation], config: Config) -> dict[str, int]:
    """Bytes moved, by window."""
    total = dict.fromkeys(DRAM_KINDS, 0)
    for operation in program:
        total["program"] += INSTRUCTION_BYTES
        if isinstance(operation, (LoadOperation, StoreOperation)):
            total[operation.window.name.lower()] += operation.beats * config.bus_bytes
    return total
