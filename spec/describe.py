"""The specification as tables: `python -m spec.describe docs/*.md` refreshes the documents.

A document holds a table between the lines `<!-- spec:NAME -->` and `<!-- /spec -->`; its text
comes from here, so that documents and code cannot drift apart.
"""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from amaranth.hdl import Shape
from amaranth.lib import data, enum

from spec import formats, isa
from spec.formats import Format
from spec.isa import (
    BODIES,
    HEADER,
    QUEUE_OF,
    Activation,
    Destination,
    Package,
    Scores,
    ScoreUse,
    Window,
)
from spec.link import BOARD_REGISTER_MEANINGS, BOARD_REGISTERS, Answer, Operation
from spec.meanings import COUNTER_MEANINGS, FIELD_MEANINGS, HEADER_MEANINGS, REGISTER_MEANINGS
from spec.presets import PRESETS
from spec.registers import (
    COUNTERS,
    REGISTERS,
    Control,
    Error,
    Status,
    counter_address,
    window_address,
)
from spec.semaphores import CONSUMER_OF, PRODUCER_OF, Semaphore

__all__ = ["BLOCKS", "notes", "refresh"]

_BLOCK = re.compile(r"(<!-- spec:(\w+) -->\n).*?(<!-- /spec -->)", re.DOTALL)


def refresh(text: str) -> str:
    """Bring every table of a document up to date; `KeyError` for a name that is not in BLOCKS."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}", text)


def notes(owner: type | ModuleType) -> dict[str, str]:
    """The strings that follow the assignments of a class or module, by the assigned name."""
    tree = ast.parse(inspect.getsource(owner))
    body = tree.body[0].body if isinstance(owner, type) else tree.body  # type: ignore[attr-defined]
    found = {}
    for statement, after in pairwise(body):
        if isinstance(statement, ast.Assign) and isinstance(after, ast.Expr):
            name, text = ast.unparse(statement.targets[0]), ast.literal_eval(after.value)
            found[name] = " ".join(text.split()).rstrip(".")
    return found


def _table(titles: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(titles)]
    lines += [[str(cell) for cell in row] for row in rows]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _enumeration(kind: type[enum.Enum] | type[enum.Flag]) -> str:
    meaning = notes(kind)
    return _table(
        ("value", "name", "meaning"),
        ((member.value, f"`{member.name}`", meaning.get(str(member.name), "")) for member in kind),
    )


def _fields(layout: data.StructLayout, first_bit: int, meanings: dict[str, str]) -> str:
    rows = []
    for name, member in layout:
        inner = member.shape
        parts: list[tuple[str, int, object]] = [("", 0, inner)]
        if isinstance(inner, data.StructLayout):
            parts = [(f".{key}", part.offset, part.shape) for key, part in inner]
        for number, (suffix, offset, shape) in enumerate(parts):
            width = Shape.cast(shape).width  # type: ignore[arg-type]
            low = first_bit + member.offset + offset
            bits = f"{low + width - 1}..{low}" if width > 1 else str(low)
            kind = f"{'int' if Shape.cast(shape).signed else 'uint'}{width}"  # type: ignore[arg-type]
            if isinstance(shape, type):
                kind = shape.__name__
            text = meanings[str(name)] if number == 0 else ""
            rows.append((bits, f"`{name}{suffix}`", kind, text))
    return _table(("bits", "field", "type", "meaning"), rows)


def _header() -> str:
    return _fields(HEADER, 0, HEADER_MEANINGS)


def _instructions() -> str:
    meaning, parts = notes(isa), []
    for opcode, body in BODIES.items():
        queue = QUEUE_OF.get(opcode)
        where = f"{queue.name.lower()} queue" if queue else "no queue"
        text = meaning.get(opcode.name, "Ends the program when everything is at rest; has no body")
        parts.append(f"#### {opcode.name} ({opcode.value}, {where})\n\n{text}.")
        if body.members:
            parts.append(_fields(body, HEADER.size, FIELD_MEANINGS[opcode]))
    return "\n\n".join(parts)


def _semaphores() -> str:
    meaning = notes(Semaphore)
    return _table(
        ("index", "semaphore", "given by", "taken by", "one credit says"),
        (
            (
                semaphore.value,
                f"`{semaphore.name}`",
                PRODUCER_OF[semaphore].name.lower(),
                CONSUMER_OF[semaphore].name.lower(),
                meaning[semaphore.name],
            )
            for semaphore in Semaphore
        ),
    )


def _registers() -> str:
    return _table(
        ("address", "register", "access", "content"),
        (
            (f"0x{address:03x}", f"`{name}`", *REGISTER_MEANINGS[name])
            for name, address in REGISTERS.items()
        ),
    )


def _board_registers() -> str:
    return _table(
        ("address", "register", "content"),
        (
            (f"0x{address:03x}", f"`{name}`", BOARD_REGISTER_MEANINGS[name])
            for name, address in BOARD_REGISTERS.items()
        ),
    )


def _windows() -> str:
    meaning, rows = notes(Window), []
    for window in Window:
        base, limit = window_address(window)
        rows.append(
            (
                window.value,
                f"`{window.name}`",
                f"0x{base:03x}",
                f"0x{limit:03x}",
                meaning[window.name],
            )
        )
    return _table(("index", "window", "base", "limit", "content"), rows)


def _counters() -> str:
    stall = "cycles stalled by this cause"
    return _table(
        ("address", "counter", "counts"),
        (
            (f"0x{counter_address(name):03x}", f"`{name}`", COUNTER_MEANINGS.get(name, stall))
            for name in COUNTERS
        ),
    )


def _presets() -> str:
    configs = list(PRESETS.values())
    fields = [name for name in type(configs[0]).__dataclass_fields__ if name != "name"]
    rows = [(f"`{name}`", *(getattr(config, name) for config in configs)) for name in fields]
    rows += [
        ("MACs", *(config.macs for config in configs)),
        ("most tokens", *(config.max_tokens for config in configs)),
        ("SRAM, KiB", *(f"{config.sram_bytes / 1024:.1f}" for config in configs)),
    ]
    return _table(("", *(f"`{config.name}`" for config in configs)), rows)


def _formats() -> str:
    meaning = notes(formats)
    found = [value for value in vars(formats).values() if isinstance(value, Format)]
    return _table(
        ("format", "bits", "values", ""),
        (
            (
                f"`{form.name}`",
                f"{form.bits}, {'signed' if form.signed else 'unsigned'}",
                f"{form.low:,} .. {form.high:,}",
                meaning.get(form.name, ""),
            )
            for form in found
        ),
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "activations": lambda: _enumeration(Activation),
    "answers": lambda: _enumeration(Answer),
    "board_registers": _board_registers,
    "control": lambda: _enumeration(Control),
    "counters": _counters,
    "destinations": lambda: _enumeration(Destination),
    "errors": lambda: _enumeration(Error),
    "formats": _formats,
    "header": _header,
    "instructions": _instructions,
    "operations": lambda: _enumeration(Operation),
    "packages": lambda: _enumeration(Package),
    "presets": _presets,
    "registers": _registers,
    "score_uses": lambda: _enumeration(ScoreUse),
    "scores": lambda: _enumeration(Scores),
    "semaphores": _semaphores,
    "status": lambda: _enumeration(Status),
    "windows": _windows,
}
"""Name of a table -> the function that writes it."""


def main(paths: list[str]) -> None:
    """Refresh the documents at `paths`; without any, write all tables to standard output."""
    for path in map(Path, paths):
        path.write_text(refresh(path.read_text()))
    if not paths:
        for name, block in BLOCKS.items():
            sys.stdout.write(f"<!-- spec:{name} -->\n\n{block()}\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
