"""A program while it is being written."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from compiler.layers import View
from spec.assembler import Instruction
from spec.image import TensorPart
from spec.isa import Opcode, Semaphore

__all__ = ["Schedule"]


@dataclass(kw_only=True)
class Schedule:
    """The program before encoding."""

    instructions: list[Instruction] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    parts: dict[str, list[TensorPart]] = field(default_factory=dict)

    def describe(self) -> str:
        """Disassembly with names."""
        lines = zip(self.instructions, self.names, strict=True)
        return "\n".join(f"{pc:5} {op}  ; {name}" for pc, (op, name) in enumerate(lines))

    def add(
        self,
        name: str,
        opcode: Opcode,
        fields: dict[str, Any],
        *,
        wait: Iterable[Semaphore] = (),
        signal: Iterable[Semaphore] = (),
        token_wait: Semaphore | None = None,
        token_signal: Semaphore | None = None,
        views: Iterable[View] = (),
    ) -> None:
        """Append an instruction; its views become parts of their tensors."""
        pc = len(self.instructions)
        self.instructions.append(
            Instruction(
                opcode=opcode,
                fields=fields,
                wait=frozenset(wait),
                signal=frozenset(signal),
                token_wait=token_wait,
                token_signal=token_signal,
            )
        )
        self.names.append(name)
        for tensor, part in views:
            self.parts.setdefault(tensor, []).append(replace(part, pc=pc))
