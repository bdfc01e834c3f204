"""A compiled program as the units of the model see it: sizes, credits and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from perf_model.epilogue import ResultCommand
from perf_model.selection import Selection, select_cycles
from perf_model.timeline import Credits, Unit
from perf_model.work import Left, Sieves, Work
from spec.assembler import Instruction, resolve_rows, transfer_rows
from spec.config import Config
from spec.formats import REQUANTIZE
from spec.isa import Destination, Opcode, ScoreUse, Window
from spec.semaphores import CONSUMER_OF, PRODUCER_OF, Queue, Semaphore

__all__ = [
    "ArrayOperation",
    "LoadOperation",
    "NormOperation",
    "Operation",
    "StoreOperation",
    "operations_of",
]


@dataclass(kw_only=True)
class Operation:
    """An instruction: which credits it takes and gives."""

    pc: int
    opcode: Opcode
    queue: Queue | None
    """None: GATE and HALT."""
    wait: tuple[Credits, ...] = ()
    signal: tuple[Credits, ...] = ()
    token_wait: Credits | None = None
    token_signal: Credits | None = None
    rows: int = 0
    beats: int = 0
    """Moved between DRAM and the machine, without the instruction itself."""


@dataclass(kw_only=True)
class ArrayOperation(Operation):
    """FULLY_CONNECTED or ATTENTION; SIEVE as one that only `sets`."""

    attention: bool = False
    operand_words: int = 0
    """Token words of a row that are read."""
    steps: int = 0
    """Of a row (attention: of a row's P.V, for each word of the head)."""
    score_steps: int = 0
    head_words: int = 1
    key_words: int = 0
    """Words of a row of scores in the rings."""
    collects: bool = False
    """The first row's probabilities become scores of the keys."""
    macs: int = 0
    left: Left | None = None
    """What sieves leave of it, if they leave out anything."""
    command: ResultCommand | None = None
    sets: bool = False
    masked: bool = False
    """Lists are followed from then on."""
    kind: int = -1
    """A number that equal instructions share; set by `perf_model.skip`."""

    @property
    def skips(self) -> bool:
        """It has rows at other times, but none now."""
        return not self.rows and not self.sets


@dataclass(kw_only=True)
class NormOperation(Operation):
    """NORMALIZE; LIVE with neither blocks nor cycles; SELECT with cycles."""

    blocks: int = 0
    """Words of a row of results; the residual has twice as many."""
    cycles: int = 0
    """That a SELECT takes."""

    @property
    def immediate(self) -> bool:
        """It is done when it leaves the queue, whatever is in work."""
        return not self.blocks and not self.cycles


@dataclass(kw_only=True)
class LoadOperation(Operation):
    """A load: table words of `table_beats` each, then `rows` x `words` words of `word_beats`."""

    window: Window
    offset: int
    size_words: int
    """The `words` of its extent, which takes a cycle for each bit of it."""
    tables: int = 0
    table_beats: int = 0
    words: int = 0
    word_beats: int = 0
    to_tokens: bool = False

    def __post_init__(self) -> None:
        self.beats = self.tables * self.table_beats + self.rows * self.words * self.word_beats


@dataclass(kw_only=True)
class StoreOperation(Operation):
    """STORE_TOKENS."""

    window: Window
    offset: int
    words: int
    word_beats: int

    def __post_init__(self) -> None:
        self.beats = self.rows * self.words * self.word_beats


def operations_of(
    instructions: Sequence[Instruction],
    config: Config,
    units: Mapping[Queue, Unit],
    selections: Mapping[int, Selection] | None = None,
    work: Mapping[int, Work] | None = None,
    first_pc: int = 0,
) -> list[Operation]:
    """The operations of a program, or of a part of it; `units` are those that execute the queues.

    selections : by program counter, see `selections_of`. Credits see to it that an instruction
        starts behind the LIVE or SELECT before it in the program, and before the next one.
    work : by program counter, what is left of instructions with sieves
    first_pc : program counter of the first instruction
    """
    credits = {
        each: Credits(each, units[producer], units[CONSUMER_OF[each]])
        for each, producer in PRODUCER_OF.items()
    }
    live, sieves = 0, Sieves(work)
    operations = []
    for pc, instruction in enumerate(instructions, first_pc):
        if instruction.opcode == Opcode.LIVE:
            live = instruction.fields["tokens"]
        operation = _operation(pc, instruction, config, credits, live)
        if instruction.opcode == Opcode.SIEVE:
            sieves.set(instruction)
        elif isinstance(operation, ArrayOperation):
            operation.left = sieves.left(pc, instruction, operation.rows)
            sieves.place(pc, instruction, operation.command)
            if operation.left is not None:
                operation.macs = operation.left.macs
        if instruction.opcode == Opcode.SELECT:
            selection = (selections or {})[pc]
            operation.cycles = select_cycles(config, instruction.fields, selection)
            if not instruction.fields["more"]:
                live = selection.left
        operations.append(operation)
    return operations


def _operation(
    pc: int,
    instruction: Instruction,
    config: Config,
    credits: Mapping[Semaphore, Credits],
    live: int,
) -> Operation:
    f = instruction.fields

    def one(semaphore: Semaphore | None) -> Credits | None:
        return None if semaphore is None else credits[semaphore]

    common = {
        "pc": pc,
        "opcode": instruction.opcode,
        "queue": instruction.queue,
        "wait": tuple(credits[each] for each in sorted(instruction.wait, key=_number)),
        "signal": tuple(credits[each] for each in sorted(instruction.signal, key=_number)),
        "token_wait": one(instruction.token_wait),
        "token_signal": one(instruction.token_signal),
    }
    lanes, beat, limit = config.lanes, config.bus_bytes, instruction.row_limit
    entry = REQUANTIZE.entry_bytes
    match instruction.opcode:
        case Opcode.FULLY_CONNECTED:
            rows = resolve_rows(f["rows"], live, limit)
            return ArrayOperation(
                **common,
                rows=rows,
                attention=False,
                operand_words=-(-f["depth"] // lanes),
                steps=-(-f["depth"] // config.banks),
                macs=rows * f["depth"] * f["columns"],
                command=_command(common, rows, 1, f["destination"], bool(f["accumulate"])),
            )
        case Opcode.ATTENTION:
            rows = resolve_rows(f["queries"], live, limit)
            keys = resolve_rows(f["keys"], live)
            groups = -(-keys // config.banks)
            return ArrayOperation(
                **common,
                rows=rows,
                attention=True,
                operand_words=f["head_words"],
                steps=groups,
                score_steps=groups * f["head_words"],
                head_words=f["head_words"],
                key_words=groups,
                collects=f["scores"] != ScoreUse.NONE,
                macs=2 * rows * keys * f["head_dim"],
                command=_command(common, rows, f["head_words"], None),
            )
        case Opcode.SIEVE:
            return ArrayOperation(**common, sets=True, masked=bool(f["masked"]))
        case Opcode.NORMALIZE:
            rows = resolve_rows(f["rows"], live, limit)
            return NormOperation(**common, rows=rows, blocks=-(-f["channels"] // lanes))
        case Opcode.LIVE | Opcode.SELECT:
            return NormOperation(**common)
        case Opcode.LOAD_WEIGHTS:
            loads = not f["live_above"] or live > f["live_above"]
            return LoadOperation(
                **common,
                window=Window.WEIGHTS,
                offset=f["offset"],
                size_words=1,
                tables=lanes // config.vector_lanes if loads else 0,
                table_beats=config.vector_lanes * entry // beat,
                rows=f["depth"] if loads else 0,
                words=1,
                word_beats=lanes // beat,
            )
        case Opcode.LOAD_NORM:
            return LoadOperation(
                **common,
                window=Window.WEIGHTS,
                offset=f["offset"],
                size_words=entry,
                tables=f["channels"] // config.norm_lanes,
                table_beats=config.norm_lanes * entry // beat,
            )
        case Opcode.LOAD_TOKENS | Opcode.STORE_TOKENS:
            moved = {
                "window": f["window"],
                "offset": f["offset"],
                "rows": transfer_rows(f, live),
                "words": f["words"],
                "word_beats": lanes // beat,
            }
            if instruction.opcode == Opcode.STORE_TOKENS:
                return StoreOperation(**common, **moved)
            return LoadOperation(**common, **moved, size_words=f["words"], to_tokens=True)
    return Operation(**common)


def _number(semaphore: Semaphore) -> int:
    return semaphore.value


def _command(
    common: Mapping, rows: int, results: int, destination: Destination | None, sums: bool = False
) -> ResultCommand:
    """What the epilogue does with an instruction's results; attention has no destination."""
    partial = destination == Destination.PARTIAL
    wide = destination in (Destination.RESIDUAL, Destination.WIDE)
    return ResultCommand(
        pc=common["pc"],
        rows=rows,
        attention=destination is None,
        results_per_row=results,
        halves=2 if partial else 1,
        words_per_half=2 if partial or wide else 1,
        adds=destination == Destination.RESIDUAL,
        accumulates=sums,
        to_rows=destination == Destination.ROWS,
        signal=common["signal"],
        token_signal=common["token_signal"],
    )
