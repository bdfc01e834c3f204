"""Instructions as Python values, as 32-byte words and as text: all from the layouts of `isa`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import data, enum

from spec.errors import SievitError
from spec.isa import BODIES, HEADER, INSTRUCTION_BYTES, QUEUE_OF, Opcode, Window
from spec.registers import Error
from spec.semaphores import Queue, Semaphore

__all__ = [
    "AssemblerError",
    "Instruction",
    "decode",
    "disassemble",
    "encode",
    "live_rows",
    "resolve_rows",
    "rows",
    "transfer_rows",
]


class AssemblerError(SievitError, ValueError):
    """A field that does not fit its layout, or a word that is no instruction.

    `code` is the error with which the machine answers such a word.
    """

    def __init__(self, message: str, code: Error = Error.OPERAND) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction: every field of the body layout of `opcode`, and its credits.

    Enumerated fields hold their members, row counts hold `rows(n)` or `live_rows(minus)`.
    """

    opcode: Opcode
    fields: Mapping[str, Any] = field(default_factory=dict)
    wait: frozenset[Semaphore] = frozenset()
    signal: frozenset[Semaphore] = frozenset()
    token_wait: Semaphore | None = None
    token_signal: Semaphore | None = None
    row_limit: int = 0
    """Most rows, if they are live; 0: no limit."""

    @property
    def queue(self) -> Queue | None:
        """The queue that executes it; None for HALT."""
        return QUEUE_OF.get(self.opcode)

    def __str__(self) -> str:
        """One line of disassembly."""
        parts = [f"{self.opcode.name:<15}"]
        parts += [f"{name}={_field_text(value)}" for name, value in self.fields.items()]
        for name in ("wait", "signal"):
            if names := _names(getattr(self, name)):
                parts.append(f"{name}={names}")
        for name in ("token_wait", "token_signal"):
            if (semaphore := getattr(self, name)) is not None:
                parts.append(f"{name}={semaphore.name}")
        if self.row_limit:
            parts.append(f"row_limit={self.row_limit}")
        return " ".join(parts)


def rows(count: int) -> dict[str, int]:
    """A fixed number of token rows."""
    return {"count": count, "live": 0}


def live_rows(minus: int = 0) -> dict[str, int]:
    """All live token rows but `minus`."""
    return {"count": minus, "live": 1}


def resolve_rows(value: Mapping[str, int], live: int, limit: int = 0) -> int:
    """The number of rows for a value of the live-token register.

    limit : the instruction's `row_limit`; without one the number may be negative
    """
    if not value["live"]:
        return value["count"]
    number = live - value["count"]
    return min(max(number, 0), limit) if limit else number


def transfer_rows(fields: Mapping[str, Any], live: int) -> int:
    """Rows of a LOAD_TOKENS or STORE_TOKENS: with `live` those of live tokens, perhaps none."""
    rows = fields["rows"]
    return min(max(live - fields["first"], 0), rows) if fields["live"] else rows


def encode(instruction: Instruction) -> bytes:
    """The 32-byte word, little endian; `AssemblerError` names a field that does not fit."""
    body = BODIES[instruction.opcode]
    header = {
        "opcode": instruction.opcode,
        "wait": _mask(instruction.wait),
        "signal": _mask(instruction.signal),
        "token_wait": _optional(instruction.token_wait),
        "token_signal": _optional(instruction.token_signal),
        "row_limit": instruction.row_limit,
        "reserved": 0,
    }
    name = instruction.opcode.name
    word = _pack(HEADER, header, name) | _pack(body, instruction.fields, name) << HEADER.size
    return word.to_bytes(INSTRUCTION_BYTES, "little")


def decode(word: bytes) -> Instruction:
    """The instruction of a 32-byte word; bits beyond its body are ignored."""
    if len(word) != INSTRUCTION_BYTES:
        raise AssemblerError(f"an instruction has {INSTRUCTION_BYTES} bytes, not {len(word)}")
    value = int.from_bytes(word, "little")
    opcode = value & 0xFF
    if opcode not in {member.value for member in Opcode}:
        raise AssemblerError(f"undefined opcode {opcode}", Error.OPCODE)
    header = _unpack(HEADER, value, "header")
    if header["reserved"]:
        raise AssemblerError(f"reserved header bits are {header['reserved']:#x}", Error.OPCODE)
    return Instruction(
        opcode=header["opcode"],
        fields=_unpack(BODIES[header["opcode"]], value >> HEADER.size, header["opcode"].name),
        wait=frozenset(_members(header["wait"])),
        signal=frozenset(_members(header["signal"])),
        token_wait=_semaphore(header["token_wait"]),
        token_signal=_semaphore(header["token_signal"]),
        row_limit=header["row_limit"],
    )


def disassemble(words: Iterable[bytes], names: Mapping[int, str] | None = None) -> str:
    """One line an instruction: pc, queue, fields and, where known, the tensor it makes."""
    lines = []
    for pc, word in enumerate(words):
        try:
            instruction = decode(word)
            queue = instruction.queue.name.lower() if instruction.queue else "-"
            text = f"{pc:5} {queue:<6} {instruction}"
        except AssemblerError as error:
            text = f"{pc:5} {'?':<6} {word.hex()} ({error})"
        if names and pc in names:
            text += f"  ; {names[pc]}"
        lines.append(text)
    return "\n".join(lines)


_Member = tuple[str, int, int, bool, Any]
"""Name, offset, width, signedness and shape of a field."""


def _members_of(layout: data.StructLayout) -> tuple[_Member, ...]:
    """The fields of a layout; kept, because walking a layout is slow."""
    if id(layout) not in _MEMBERS:
        members = []
        for name, member in layout:
            shape = Shape.cast(member.shape)
            members.append((str(name), member.offset, shape.width, shape.signed, member.shape))
        _MEMBERS[id(layout)] = (layout, tuple(members))
    return _MEMBERS[id(layout)][1]


_MEMBERS: dict[int, tuple[data.StructLayout, tuple[_Member, ...]]] = {}
"""By identity; holding the layout keeps its identity its own."""


def _pack(layout: data.StructLayout, values: Mapping[str, Any], where: str) -> int:
    members = _members_of(layout)
    expected = [name for name, *_ in members]
    if sorted(values) != sorted(expected):
        raise AssemblerError(f"{where}: fields must be {', '.join(expected)}, not {list(values)}")
    word = 0
    for name, offset, width, is_signed, shape in members:
        value = values[name]
        if isinstance(shape, data.StructLayout):
            bits = _pack(shape, value, f"{where}: {name}")
        else:
            bits = value.value if isinstance(value, enum.Enum) else int(value)
        low, high = (
            (-(1 << width - 1), (1 << width - 1) - 1) if is_signed else (0, (1 << width) - 1)
        )
        if not low <= bits <= high:
            raise AssemblerError(f"{where}: {name} must lie in {low}..{high}, not {bits}")
        word |= (bits & ((1 << width) - 1)) << offset
    return word


def _unpack(layout: data.StructLayout, word: int, where: str) -> dict[str, Any]:
    values = {}
    for name, offset, width, is_signed, shape in _members_of(layout):
        bits = word >> offset & ((1 << width) - 1)
        if isinstance(shape, data.StructLayout):
            values[name] = _unpack(shape, bits, where)
        elif isinstance(shape, type) and issubclass(shape, enum.Enum):
            try:
                values[name] = shape(bits)
            except ValueError:
                raise AssemblerError(
                    f"{where}: {name} has no value {bits}; there are "
                    f"{', '.join(f'{member.value} {member.name}' for member in shape)}",
                    Error.WINDOW if shape is Window else Error.OPERAND,
                ) from None
        else:
            values[name] = bits - (1 << width) if is_signed and bits >> width - 1 else bits
    return values


def _mask(semaphores: Iterable[Semaphore]) -> int:
    return sum(1 << semaphore.value for semaphore in semaphores)


def _members(mask: int) -> list[Semaphore]:
    return [_member(index) for index in range(mask.bit_length()) if mask >> index & 1]


def _optional(semaphore: Semaphore | None) -> dict[str, int]:
    if semaphore is None:
        return {"index": 0, "valid": 0}
    return {"index": semaphore.value, "valid": 1}


def _semaphore(value: Mapping[str, int]) -> Semaphore | None:
    return _member(value["index"]) if value["valid"] else None


def _member(index: int) -> Semaphore:
    try:
        return Semaphore(index)
    except ValueError:
        raise AssemblerError(f"undefined semaphore {index}", Error.SEMAPHORE) from None


def _names(semaphores: frozenset[Semaphore]) -> str:
    return "+".join(s.name for s in sorted(semaphores, key=lambda s: s.value))


def _field_text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Mapping):
        if not value["live"]:
            return str(value["count"])
        return f"live-{value['count']}" if value["count"] else "live"
    return str(value)
