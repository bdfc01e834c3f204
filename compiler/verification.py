"""Fifth step: an independent look at the finished program.

Counts every credit in program order, and proves from the instructions alone that no load
overwrites a table or weights that are still to be used.
"""

from collections import Counter

from compiler.errors import CompileError
from spec.assembler import Instruction, resolve_rows
from spec.config import Config
from spec.isa import CONSUMER_OF, PRODUCER_OF, SEMAPHORE_BITS, Opcode, Semaphore

__all__ = ["verify"]


def verify(instructions: list[Instruction], config: Config) -> None:
    """Raise `CompileError` if the program could stop, race or leave a credit over."""
    _check_credits(instructions)
    _check_reuse(instructions, config)


def _check_credits(instructions: list[Instruction]) -> None:
    """Every credit comes from an earlier instruction, and every credit is taken.

    Queues execute in order and each semaphore has one producing and one consuming queue, so the
    k-th credit taken is the k-th given. If the program can run one instruction at a time, it can
    run under any timing and any queue depth.
    """
    credits: Counter[Semaphore] = Counter()
    live = 0
    for pc, op in enumerate(instructions):
        if op.opcode == Opcode.LIVE:
            live = op.fields["tokens"]
        field = next((name for name in ("rows", "queries") if name in op.fields), None)
        value = op.fields[field] if field else 0
        count = value if isinstance(value, int) else resolve_rows(value, live)
        taken, given = Counter(op.wait), Counter(op.signal)
        if op.token_wait is not None:
            taken[op.token_wait] += count
        if op.token_signal is not None:
            given[op.token_signal] += count
        for semaphore, number in taken.items():
            credits[semaphore] -= number
            if CONSUMER_OF[semaphore] != op.queue or credits[semaphore] < 0:
                raise CompileError(f"internal error: pc {pc} takes too much {semaphore.name}")
        for semaphore, number in given.items():
            credits[semaphore] += number
            if PRODUCER_OF[semaphore] != op.queue or credits[semaphore] >= 1 << SEMAPHORE_BITS:
                raise CompileError(f"internal error: pc {pc} gives too much {semaphore.name}")
    for semaphore, number in credits.items():
        if number:
            raise CompileError(f"internal error: {number} {semaphore.name} left at the end")


def _check_reuse(instructions: list[Instruction], config: Config) -> None:
    """A load may overwrite only what instructions it is sure to follow have used."""
    for load, use, free, spans in (
        (Opcode.LOAD_WEIGHTS, Opcode.FULLY_CONNECTED, Semaphore.WEIGHTS_FREE, _weight_spans),
        (Opcode.LOAD_NORM, Opcode.NORMALIZE, Semaphore.NORM_TABLE_FREE, _norm_spans),
    ):
        uses = [op for op in instructions if op.opcode == use]
        givers = [number for number, op in enumerate(uses) if free in op.signal]
        taken = retired = 0
        loads = [op for op in instructions if op.opcode == load]
        for number, op in enumerate(loads):
            if free in op.wait:
                retired = givers[taken] + 1
                taken += 1
            mine = spans(op, config)
            for other in range(retired, number):
                for (start, end), (first, last) in zip(
                    mine, spans(loads[other], config), strict=True
                ):
                    if start < last and first < end:
                        raise CompileError(
                            f"internal error: load {number} may overwrite what load {other} brought"
                        )


def _weight_spans(op: Instruction, config: Config) -> list[tuple[int, int]]:
    row, table = op.fields["row"], op.fields["table"]
    return [(row, row + -(-op.fields["depth"] // config.banks)), (table, table + 1)]


def _norm_spans(op: Instruction, config: Config) -> list[tuple[int, int]]:
    table = op.fields["table"]
    return [(table, table + op.fields["channels"] // config.lanes)]
