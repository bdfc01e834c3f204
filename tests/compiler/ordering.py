"""Proves from a program's credits alone that every access to memory is in order.

An event is a token row of an instruction (or the whole of one without rows). Within a queue events
start and end in order. Every event knows, for each queue, how many of its events are over when it
starts: by the credits it takes, by what their givers knew, and by the event before it. Two accesses
to one word, one of them a write, are in order when the later one (in the program) knows that the
earlier one is over. Within a queue only a read behind a write needs that: an instruction's operands
are read before its results are written, and results are written in order. Sums that an instruction
adds to need not even that: they are read after all earlier instructions' writes.

A selection changes the number of live tokens: the proof holds for the number that it is given. The
live-token register is memory like any other: instructions whose rows depend on it read it when they
start, LIVE and SELECT write it. The vector queue begins a SELECT when all before it is over, and
what is behind it when it is over. Instructions without rows take and give credits in their turn. A
SIEVE has none and meets no memory; lists and places are read by the instructions that need them.

Several head groups read and write each in that order, but not among each other: between two of them
every pair needs the credits. An instruction that needs other groups than the one before it starts
when all writes before it are done.
"""

from collections import defaultdict, deque
from dataclasses import replace

from golden_model.machine_groups import groups_of
from spec.assembler import resolve_rows, transfer_rows
from spec.isa import PARTIAL_WORDS, SIEVE, Destination, Opcode, Scores, ScoreUse, Window
from spec.semaphores import Queue

FIRST_ROWS = {Opcode.FULLY_CONNECTED: "rows", Opcode.NORMALIZE: "rows", Opcode.ATTENTION: "queries"}


class DisorderError(AssertionError):
    """Two accesses that nothing orders."""


def check_ordering(instructions, config, left=None):
    """Raise `DisorderError` for the first access that may come too early.

    left : live tokens behind each selection, in order; all stay if not given
    """
    live = max(op.fields["tokens"] for op in instructions if op.opcode == Opcode.LIVE)
    left = iter(left or [live] * len(instructions))
    known = {queue: dict.fromkeys(Queue, 0) for queue in Queue}
    started = dict.fromkeys(Queue, 0)
    credits = defaultdict(deque)
    writer, readers = {}, defaultdict(dict)
    at_work = 1
    sieve, loaded = dict.fromkeys(SIEVE.members, 0), {}
    groups = max(
        (
            (op.fields["value"] - op.fields["key"]) // op.fields["head_words"]
            for op in instructions
            if op.opcode == Opcode.ATTENTION
        ),
        default=0,
    )

    def take(queue, semaphore):
        giver, event, knowledge = credits[semaphore].popleft()
        merge(known[queue], knowledge)
        known[queue][giver] = max(known[queue][giver], event)

    def check(pc, queue, group, word, other, own_too):
        other_queue, other_group, event, other_pc = other
        foreign = other_queue != queue or other_group not in (None, group)
        if (foreign or own_too) and known[queue][other_queue] < event:
            raise DisorderError(f"pc {pc} ({queue.name}) and pc {other_pc} meet at word {word}")

    for pc, op in enumerate(instructions):
        queue = op.queue
        if queue is None:
            continue
        rows = rows_of(op, live)
        if op.opcode == Opcode.SIEVE:
            sieve = op.fields
        elif op.opcode == Opcode.LOAD_TOKENS and op.fields["window"] == Window.WEIGHTS:
            loaded[op.fields["token"]] = op.fields["words"] * op.fields["rows"]
        for semaphore in op.wait:
            take(queue, semaphore)
        alone = op.opcode in (Opcode.LIVE, Opcode.SELECT)
        if alone:
            known[queue][queue] = started[queue]
        if op.opcode in (Opcode.FULLY_CONNECTED, Opcode.ATTENTION):
            if groups_of(op, config.lanes) != at_work:
                known[queue][queue] = started[queue]
            at_work = groups_of(op, config.lanes)
        if depends_on_live(op):
            # the number of rows is looked up when the instruction starts, before any row's credit
            check(pc, queue, None, ("live", 0), writer["live", 0], True)
            readers["live", 0][queue, None] = (queue, None, started[queue] + bool(rows), pc)
        for row in range(rows):
            if op.token_wait is not None:
                take(queue, op.token_wait)
            started[queue] += 1
            event = started[queue]
            for group, one in in_groups(op, rows, config):
                reads, writes = accesses(one, row, rows, config, live)
                if masked_or_placed(one, sieve):
                    reads, writes = by_lists(one, reads, writes, sieve, groups, loaded)
                reads = [in_group(word, group) for word in reads]
                added = sums(one, row)
                # operands are read before an instruction's results, for all groups at once
                own = set(writes) | set(added)
                for word in reads + added:
                    if word in writer:
                        check(pc, queue, group, word, writer[word], word not in added)
                    reader = group if word in own else None
                    readers[word][queue, reader] = (queue, reader, event, pc)
                for word in (in_group(word, group) for word in writes):
                    for other in readers[word].values():
                        check(pc, queue, group, word, other, False)
                    if word in writer:
                        check(pc, queue, group, word, writer[word], False)
                    writer[word] = (queue, group, event, pc)
                    readers[word] = {}
            if op.token_signal is not None:
                credits[op.token_signal].append((queue, event, dict(known[queue])))
        if alone:
            known[queue][queue] = started[queue]
        if op.opcode == Opcode.SELECT and not op.fields["more"]:
            live = next(left)
        for semaphore in op.signal:
            credits[semaphore].append((queue, started[queue], dict(known[queue])))
    return started


def masked_or_placed(op, sieve):
    """Whether an instruction reads lists, or places of its rows."""
    if op.opcode == Opcode.ATTENTION:
        return sieve["masked"]
    return op.fields.get("destination") == Destination.ROWS and sieve["placed"]


def by_lists(op, reads, writes, sieve, groups, loaded):
    """What an instruction reads and writes by lists or places: any place of keys and values.

    groups : places of a bank
    loaded : words of what was last loaded to an address
    """
    f = op.fields
    if op.opcode == Opcode.ATTENTION:
        assert loaded[sieve["lists"]] >= sieve["list_words"]
        lists = [("token", sieve["lists"] + word) for word in range(sieve["list_words"])]
        size = groups * f["head_words"]
        keys = [("row", f[name] + word) for name in ("key", "value") for word in range(size)]
        tokens = [word for word in reads if word[0] != "row"]
        return tokens + lists + (keys if len(tokens) < len(reads) else []), writes
    assert loaded[sieve["positions"]]
    reads = reads + [
        ("token", sieve["positions"] + word) for word in range(loaded[sieve["positions"]])
    ]
    return reads, [("row", f["target"] + group * f["target_stride"]) for group in range(groups)]


def in_groups(op, rows, config):
    """An instruction as each of its head groups sees it."""
    for group in range(groups_of(op, config.lanes)):
        f = dict(op.fields)
        if op.opcode == Opcode.LOAD_WEIGHTS:
            f["offset"] += group * config.lanes * (8 + f["depth"])
        elif op.opcode == Opcode.FULLY_CONNECTED:
            behind = group * rows * PARTIAL_WORDS
            f["partial"] += group * PARTIAL_WORDS if f["broadcast"] else behind
            if f["destination"] == Destination.PARTIAL:
                f["target"] += behind
            elif f["destination"] != Destination.ROWS:
                f["target"] += group * f["group_words"]
        elif op.opcode == Opcode.ATTENTION:
            f["query"] += group * f["head_words"]
            f["target"] += group * f["head_words"]
        yield group, replace(op, fields=f)


def in_group(word, group):
    """A word of a memory that each group has."""
    return (*word, group) if word[0] in ("row", "column table", "score") else word


def merge(mine, other):
    for queue, event in other.items():
        mine[queue] = max(mine[queue], event)


def sums(op, row):
    """Words of a row's sums, which an earlier instruction left."""
    if not op.fields.get("accumulate"):
        return []
    first = op.fields["partial"] + (0 if op.fields["broadcast"] else row * PARTIAL_WORDS)
    return [("token", first + word) for word in range(PARTIAL_WORDS)]


def without(instructions, semaphore):
    """The program, with neither credits of one semaphore nor waits for them."""
    return [
        replace(
            op,
            wait=op.wait - {semaphore},
            signal=op.signal - {semaphore},
            token_wait=None if op.token_wait == semaphore else op.token_wait,
            token_signal=None if op.token_signal == semaphore else op.token_signal,
        )
        for op in instructions
    ]


def rows_of(op, live):
    if op.opcode in FIRST_ROWS:
        return resolve_rows(op.fields[FIRST_ROWS[op.opcode]], live, op.row_limit)
    if live <= op.fields.get("live_above", 0):
        return 0
    if op.opcode in (Opcode.LOAD_TOKENS, Opcode.STORE_TOKENS):
        return transfer_rows(op.fields, live)
    return 0 if op.opcode == Opcode.SIEVE else op.fields.get("rows", 1)


def moves_live(op):
    """Whether it moves rows of live tokens from or to DRAM."""
    return op.opcode in (Opcode.LOAD_TOKENS, Opcode.STORE_TOKENS) and op.fields["live"]


def depends_on_live(op):
    """Whether the live-token register decides on an instruction's rows."""
    counts = [value for value in op.fields.values() if isinstance(value, dict)]
    own = op.fields.get("live_above") or moves_live(op)
    return own or any(value["live"] for value in counts)


def accesses(op, row, rows, config, live):
    """Words that a row of an instruction reads and writes; whole matrices with its first row."""
    f, first, final = op.fields, row == 0, row == rows - 1

    def span(kind, base, count):
        return [(kind, base + word) for word in range(count)]

    match op.opcode:
        case Opcode.LOAD_WEIGHTS:
            writes = span("row", f["row"], -(-f["depth"] // config.banks))
            return [], writes + span("column table", f["table"], 1)
        case Opcode.LOAD_NORM:
            return [], span("norm table", f["table"], f["channels"] // config.lanes)
        case Opcode.LOAD_TOKENS | Opcode.STORE_TOKENS:
            outside = span(
                f["window"].name, f["offset"] // config.lanes + row * f["words"], f["words"]
            )
            inside = span("token", f["token"] + row * f["stride"], f["words"])
            return (outside, inside) if op.opcode == Opcode.LOAD_TOKENS else (inside, outside)
        case Opcode.NORMALIZE:
            words = -(-f["channels"] // config.lanes)
            reads = span("token", f["source"] + row * f["source_stride"], 2 * words)
            reads += span("norm table", f["table"], words)
            return reads, span("token", f["target"] + row * f["target_stride"], words)
        case Opcode.FULLY_CONNECTED:
            words = -(-f["depth"] // config.lanes)
            reads = span("token", f["source"] + row * f["source_stride"], words)
            if first or final:
                reads += span("row", f["row"], -(-f["depth"] // config.banks))
                reads += span("column table", f["table"], 1)
            if f["destination"] == Destination.ROWS:
                group = row // config.banks * f["target_stride"]
                return reads, span("row", f["target"] + group, 1)
            wide = {
                Destination.RESIDUAL: 2,
                Destination.WIDE: 2,
                Destination.PARTIAL: PARTIAL_WORDS,
            }
            count = wide.get(f["destination"], 1)
            target = span("token", f["target"] + row * f["target_stride"], count)
            return reads + target * (f["destination"] == Destination.RESIDUAL), target
        case Opcode.ATTENTION:
            reads = span("token", f["query"] + row * f["query_stride"], f["head_words"])
            if first or final:
                words = -(-resolve_rows(f["keys"], live) // config.banks) * f["head_words"]
                reads += span("row", f["key"], words) + span("row", f["value"], words)
            target = f["target"] + row * f["target_stride"]
            scores = [("score", 0)] if first and f["scores"] != ScoreUse.NONE else []
            return reads, span("token", target, f["head_words"]) + scores
        case Opcode.LIVE:
            return [], [("live", 0)]
        case Opcode.SELECT:
            tokens = [
                word
                for row in range(live)
                for word in span("token", f["source"] + row * f["stride"], f["words"])
            ]
            reads = [*tokens, ("live", 0), ("score", 0)]
            if f["scores"] == Scores.CLASSIFIER:
                reads.remove(("score", 0))
                words = -(-2 * f["heads"] // config.lanes)
                for row in range(live):
                    for base in (f["keep"], f["attend"]):
                        reads += span("token", base + row * f["score_stride"], words)
            live_too = [] if f["more"] else [("live", 0)]
            return reads, [*tokens[f["prefix"] * f["words"] :], *live_too]
    return [], []
