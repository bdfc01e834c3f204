"""Fifth step: an independent look at the finished program.

Counts every credit in program order, and proves from the instructions alone that no load
overwrites a table, weights, lists, keys or values that are still to be used, and that no key or
value is written over weights that are still to be used.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from compiler.errors import CompileError
from spec.assembler import Instruction, resolve_rows, transfer_rows
from spec.config import Config
from spec.isa import QUEUE_OF, Destination, Opcode, Window
from spec.semaphores import CONSUMER_OF, PRODUCER_OF, SEMAPHORE_BITS, Queue, Semaphore

__all__ = ["verify"]

TRANSFERS = (Opcode.LOAD_TOKENS, Opcode.STORE_TOKENS)


def verify(instructions: list[Instruction], config: Config, key_groups: int = 0) -> None:
    """Raise `CompileError` if the program could stop, race or leave a credit over.

    key_groups : places of a bank that keys take where lists say which
    """
    for left in _numbers_left(instructions):
        _check_credits(instructions, left)
    _check_reuse(instructions, config, key_groups)
    _check_lists(instructions)


def _numbers_left(instructions: list[Instruction]) -> list[int]:
    """Numbers of tokens that selections leave, of which all others are in between.

    Between two of them every instruction has as many rows more as there are tokens more, or as
    many rows: if all credits are there at both, they are in between.
    """
    live = max((op.fields["tokens"] for op in instructions if op.opcode == Opcode.LIVE), default=0)
    prefixes = [op.fields["prefix"] for op in instructions if op.opcode == Opcode.SELECT]
    if not prefixes:
        return [live]
    tiles = {(op.fields["rows"]["count"], op.row_limit) for op in instructions if op.row_limit}
    tiles |= {(op.fields["first"], op.fields["rows"]) for op in instructions if _moves_live(op)}
    ends = {min(first + size, live) for tile in tiles for first, size in (tile, (tile[0], 0))}
    least = max(prefixes) + 1
    return sorted({live, least} | {end for end in ends if least < end})


def _moves_live(op: Instruction) -> bool:
    """Whether it moves rows of live tokens from or to DRAM."""
    return op.opcode in TRANSFERS and bool(op.fields["live"])


def _check_credits(instructions: list[Instruction], left: int) -> None:
    """Every credit comes from an earlier instruction, and every credit is taken.

    left : tokens that every selection leaves

    Queues execute in order and each semaphore has one producing and one consuming queue, so the
    k-th credit taken is the k-th given. If the program can run one instruction at a time, it can
    run under any timing and any queue depth.
    """
    credits: Counter[Semaphore] = Counter()
    live = 0
    for pc, op in enumerate(instructions):
        if op.opcode == Opcode.LIVE:
            live = op.fields["tokens"]
        if op.opcode == Opcode.SELECT and not op.fields["more"]:
            live = left
        field = next((name for name in ("rows", "queries") if name in op.fields), None)
        value = op.fields[field] if field else {}
        if op.opcode in TRANSFERS:
            count = transfer_rows(op.fields, live)
        else:
            count = resolve_rows(value, live, op.row_limit) if field else 0
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


def _check_reuse(instructions: list[Instruction], config: Config, key_groups: int) -> None:
    """A load may overwrite only what instructions it is sure to follow have used.

    Loads and their users are two queues, each in order: the k-th credit that a load takes is the
    k-th that a user gives, and everything up to that user is over then.
    """
    live = max(op.fields["tokens"] for op in instructions if op.opcode == Opcode.LIVE)
    for load, use, ready, free, spans in (
        (
            Opcode.LOAD_WEIGHTS,
            Opcode.FULLY_CONNECTED,
            Semaphore.WEIGHTS_READY,
            Semaphore.WEIGHTS_FREE,
            _weight_spans,
        ),
        (
            Opcode.LOAD_NORM,
            Opcode.NORMALIZE,
            Semaphore.NORM_TABLE_READY,
            Semaphore.NORM_TABLE_FREE,
            _norm_spans,
        ),
    ):
        loads = [op for op in instructions if op.opcode == load]
        given = iter([op for op in instructions if ready in op.signal])
        users = [op for op in instructions if op.queue == QUEUE_OF[use]]
        first_use, last_use = [], []
        latest: dict[int, int] = {}
        """By table, the load that filled it: tiles of two LayerNorms take turns."""
        for number, op in enumerate(users):
            if ready in op.wait:
                giver = next(given)
                if giver.opcode == load:
                    first_use.append(number)
                    last_use.append(number)
                    latest[giver.fields["table"]] = len(first_use) - 1
            if op.opcode == use:
                last_use[latest[op.fields["table"]]] = number
        givers = [number for number, op in enumerate(users) if free in op.signal]
        in_rows = list(_key_and_value_spans(users, config, live, key_groups))
        taken = retired = 0
        for number, op in enumerate(loads):
            if free in op.wait:
                retired = givers[taken] + 1
                taken += 1
            mine = spans(op, config)
            for other in range(number):
                if last_use[other] >= retired and any(
                    _meet(*pair) for pair in zip(mine, spans(loads[other], config), strict=True)
                ):
                    raise CompileError(
                        f"internal error: load {number} may overwrite what load {other} brought"
                    )
            for user in range(retired, first_use[number] + 1):
                if any(_meet(mine[0], span) for span in in_rows[user]):
                    raise CompileError(
                        f"internal error: load {number} shares words with keys or values in use"
                    )


def _check_lists(instructions: list[Instruction]) -> None:
    """A list, or a list of places, may overwrite only those that the array has used up."""
    users = [op for op in instructions if op.queue == Queue.ARRAY]
    givers = iter([n for n, op in enumerate(users) if Semaphore.TOKENS_FREE in op.signal])
    sieve: Mapping[str, int] = {"placed": 0, "masked": 0}
    loads: list[tuple[Span, int]] = []
    """Words, and how many users are over when it starts."""
    latest: dict[int, int] = {}
    last_use: dict[int, int] = {}
    user = retired = 0
    for op in instructions:
        f = op.fields
        if op.queue == Queue.LOAD and Semaphore.TOKENS_FREE in op.wait:
            retired = next(givers) + 1
        if op.opcode == Opcode.LOAD_TOKENS and f["window"] == Window.WEIGHTS:
            latest[f["token"]] = len(loads)
            loads.append(((f["token"], f["token"] + f["rows"] * f["words"]), retired))
        elif op.opcode == Opcode.SIEVE:
            sieve = f
        by_list = op.opcode == Opcode.ATTENTION and sieve["masked"]
        by_place = f.get("destination") == Destination.ROWS and sieve["placed"]
        if by_list or by_place:
            at = sieve["lists" if by_list else "positions"]
            if at not in latest:
                raise CompileError(f"internal error: no list was loaded to token word {at}")
            last_use[latest[at]] = user
        user += op.queue == Queue.ARRAY
    for number, (span, over) in enumerate(loads):
        for other in range(number):
            if last_use.get(other, -1) >= over and _meet(span, loads[other][0]):
                raise CompileError(
                    f"internal error: list {number} may overwrite list {other}, which is in use"
                )


Span = tuple[int, int]
"""First, and one behind the last."""


def _meet(a: Span, b: Span) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _weight_spans(op: Instruction, config: Config) -> list[Span]:
    row, table = op.fields["row"], op.fields["table"]
    return [(row, row + -(-op.fields["depth"] // config.banks)), (table, table + 1)]


def _norm_spans(op: Instruction, config: Config) -> list[Span]:
    table = op.fields["table"]
    return [(table, table + op.fields["channels"] // config.lanes)]


def _key_and_value_spans(
    users: list[Instruction], config: Config, live: int, placed_groups: int
) -> Iterator[list[Span]]:
    """Words of a bank that each instruction of a queue reads or writes as keys or values."""
    sieve: Mapping[str, int] = {"placed": 0, "masked": 0}
    for op in users:
        f, spans = op.fields, []
        if op.opcode == Opcode.SIEVE:
            sieve = f
        elif op.opcode == Opcode.ATTENTION:
            in_order = -(-resolve_rows(f["keys"], live) // config.banks)
            size = (placed_groups if sieve["masked"] else in_order) * f["head_words"]
            spans = [(f[name], f[name] + size) for name in ("key", "value")]
        elif op.opcode == Opcode.FULLY_CONNECTED and f["destination"] == Destination.ROWS:
            in_order = -(-resolve_rows(f["rows"], live) // config.banks)
            groups = placed_groups if sieve["placed"] else in_order
            spans = [(f["target"], f["target"] + (groups - 1) * f["target_stride"] + 1)]
        yield spans
