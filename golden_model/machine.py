"""The golden machine: executes a compiled image as the hardware does, instruction by instruction.

An in-order dispatcher fills four bounded queues. A queue's head takes its `wait` credits and
becomes the executing instruction; it executes in one go when the credits of all its rows are
there too. That is never more parallel than the hardware, so a program that ends here ends there.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden_model.errors import GoldenError
from golden_model.machine_checks import check_instruction
from golden_model.machine_execute import execute, no_writes
from golden_model.machine_gate import gate
from golden_model.machine_memory import MachineError, Memories, Work
from golden_model.trace import Writes, assemble_tensors
from spec.assembler import AssemblerError, Instruction, decode, resolve_rows, transfer_rows
from spec.config import Config
from spec.image import Image
from spec.isa import Opcode, Window
from spec.registers import Error
from spec.semaphores import SEMAPHORE_BITS, Queue, Semaphore

__all__ = ["Execution", "MachineError", "Run", "machine", "run_program"]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What a program did."""

    writes: dict[int, Writes]
    """By program counter."""
    order: tuple[int, ...]
    """Program counters in the order of execution."""
    windows: dict[Window, bytes]
    """DRAM after the run."""
    credits: dict[Semaphore, int]
    """Credits left at the end, which clears them; a compiled program leaves none."""
    macs: dict[int, int]
    """Multiplications with valid operands, by program counter of the array's instructions."""
    masked: dict[int, int]
    """Likewise those that masks leave out, and"""
    zeros: dict[int, int]
    """those that are left out because a scalar is 0."""
    work: dict[int, Work]
    """By program counter of the array's instructions."""
    live_tokens: int
    """The live-token register at the end."""
    efforts: int
    """Parts of the program that were run: each ends with GATE or HALT."""
    attentions_skipped: int
    """Sum of their `skipped`."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One picture through a compiled image."""

    logits: NDArray[np.int16]
    """int16 [classes]"""
    tensors: dict[str, NDArray[np.integer]]
    """Every intermediate tensor, as `golden_model.vit` collects them, for one image."""
    execution: Execution


def machine(
    image: Image, config: Config, patches: NDArray[np.int8], seed: int | None = None
) -> Run:
    """Execute a compiled image on one picture.

    patches : int8 [patches, patch_dim]
    seed : content of uninitialised memory; no result depends on it

    Raises `ImageError` for a picture or machine that does not match, `MachineError` for a program
    that the hardware would stop.
    """
    image.check_config(config)
    windows = {
        Window.WEIGHTS: image.weights.tobytes(),
        Window.INPUT: image.pack_input(patches),
        Window.SCRATCH: bytes(image.scratch_bytes),
        Window.RESULT: bytes(image.result_bytes),
    }
    execution = run_program(config, image.program, windows, seed)
    return Run(
        logits=image.unpack_result(execution.windows[Window.RESULT]),
        tensors=assemble_tensors(image, execution.writes),
        execution=execution,
    )


def run_program(
    config: Config,
    program: NDArray[np.uint8],
    windows: Mapping[Window, bytes],
    seed: int | None = None,
) -> Execution:
    """Execute instruction words.

    program : uint8 [instructions, 32]
    windows : content of the DRAM windows; their lengths are their limits
    """
    return _Machine(config, program, windows, seed).run()


ROWS_FIELD = {
    Opcode.FULLY_CONNECTED: "rows",
    Opcode.ATTENTION: "queries",
    Opcode.NORMALIZE: "rows",
}
"""Instructions whose row count may come from the live-token register."""


class _Machine:
    """State of a run."""

    def __init__(
        self,
        config: Config,
        program: NDArray[np.uint8],
        windows: Mapping[Window, bytes],
        seed: int | None,
    ) -> None:
        self.config, self.program = config, program
        self.memory = Memories(config, windows, seed)
        self.queues: dict[Queue, deque[tuple[int, Instruction]]] = {q: deque() for q in Queue}
        self.executing: dict[Queue, tuple[int, Instruction] | None] = dict.fromkeys(Queue)
        self.credits: Counter[Semaphore] = Counter()
        self.pc = 0
        self.efforts = self.attentions_skipped = 0
        self.writes: dict[int, Writes] = {}
        self.macs: dict[int, int] = {}
        self.masked: dict[int, int] = {}
        self.zeros: dict[int, int] = {}
        self.work: dict[int, Work] = {}

    def run(self) -> Execution:
        """Run until HALT, or a GATE that is certain."""
        ended = False
        while not ended:
            moved, end = self.dispatch()
            for queue in Queue:
                moved |= self.issue(queue) | self.execute(queue)
            if end is not None:
                ended = self.end_part(end)
            elif not moved:
                raise MachineError(self.deadlock(), Error.WATCHDOG, self.pc)
        return Execution(
            writes=self.writes,
            order=tuple(self.writes),
            windows={window: data.tobytes() for window, data in self.memory.window.items()},
            credits={semaphore: count for semaphore, count in self.credits.items() if count},
            macs=self.macs,
            masked=self.masked,
            zeros=self.zeros,
            work=self.work,
            live_tokens=self.memory.live,
            efforts=self.efforts,
            attentions_skipped=self.attentions_skipped,
        )

    def dispatch(self) -> tuple[bool, Instruction | None]:
        """Fill the queues in program order.

        Returns whether any moved, and the GATE or HALT that all before it have come to rest for.
        """
        moved = False
        while True:
            if self.pc >= len(self.program):
                raise self.fault("the program ends without HALT", Error.WINDOW, self.pc)
            try:
                instruction = decode(self.program[self.pc].tobytes())
            except AssemblerError as error:
                raise self.fault(str(error), error.code, self.pc) from None
            queue = instruction.queue
            if queue is not None and len(self.queues[queue]) == self.config.queue_depth:
                return moved, None
            try:
                check_instruction(instruction, self.config)
            except MachineError as error:
                raise self.fault(str(error), error.code, self.pc) from None
            if queue is None:
                busy = any(self.queues.values()) or any(self.executing.values())
                return moved, None if busy else instruction
            self.queues[queue].append((self.pc, instruction))
            self.pc += 1
            moved = True

    def end_part(self, instruction: Instruction) -> bool:
        """Execute a GATE or HALT; whether the program ends."""
        certain = True
        if instruction.opcode == Opcode.GATE:
            try:
                certain = gate(self.memory, instruction.fields)
            except MachineError as error:
                raise self.fault(str(error), error.code, self.pc) from None
        self.efforts += 1
        self.attentions_skipped += instruction.fields["skipped"]
        if not certain:
            self.pc += 1
            self.credits.clear()
        return certain

    def issue(self, queue: Queue) -> bool:
        """Let the head of a queue take its credits and execute next."""
        if self.executing[queue] or not self.queues[queue]:
            return False
        pc, instruction = self.queues[queue][0]
        if not all(self.credits[semaphore] for semaphore in instruction.wait):
            return False
        self.executing[queue] = self.queues[queue].popleft()
        self.credits.subtract(instruction.wait)
        limited = instruction.row_limit
        if instruction.opcode in ROWS_FIELD and not limited and self.rows(instruction) < 1:
            raise self.fault("no row is left", Error.OPERAND, pc)
        return True

    def execute(self, queue: Queue) -> bool:
        """Execute the instruction at hand if its rows' credits are there."""
        pc, instruction = self.executing[queue] or (0, None)
        if instruction is None:
            return False
        count = self.rows(instruction)
        if instruction.token_wait is not None:
            if self.credits[instruction.token_wait] < count:
                return False
            self.credits[instruction.token_wait] -= count
        try:
            skipped = instruction.row_limit and not count
            self.memory.work = Work()
            self.writes[pc] = (
                no_writes(self.memory) if skipped else execute(self.memory, instruction, count)
            )
        except MachineError as error:
            raise self.fault(str(error), error.code, pc) from None
        except GoldenError as error:
            raise self.fault(str(error), Error.OPERAND, pc) from None
        if instruction.token_signal is not None:
            self.give(pc, instruction.token_signal, count)
        for semaphore in instruction.signal:
            self.give(pc, semaphore, 1)
        if queue == Queue.ARRAY:
            self.count_macs(pc, instruction, self.memory.work)
        self.executing[queue] = None
        return True

    def give(self, pc: int, semaphore: Semaphore, count: int) -> None:
        """Add credits."""
        self.credits[semaphore] += count
        if self.credits[semaphore] >= 1 << SEMAPHORE_BITS:
            raise self.fault(f"{semaphore.name} overflows", Error.SEMAPHORE, pc)

    def rows(self, instruction: Instruction) -> int:
        """Token rows of an instruction."""
        if instruction.opcode in ROWS_FIELD:
            return resolve_rows(
                instruction.fields[ROWS_FIELD[instruction.opcode]],
                self.memory.live,
                instruction.row_limit,
            )
        if instruction.opcode in (Opcode.LOAD_TOKENS, Opcode.STORE_TOKENS):
            return transfer_rows(instruction.fields, self.memory.live)
        return 0

    def count_macs(self, pc: int, instruction: Instruction, work: Work) -> None:
        """Count the multiplications of an array instruction, and those that are left out."""
        fields, count = instruction.fields, self.rows(instruction)
        self.work[pc] = work
        self.macs[pc] = self.masked[pc] = self.zeros[pc] = 0
        if instruction.opcode == Opcode.FULLY_CONNECTED:
            scalars = count * fields["depth"]
            used = scalars if work.nonzeros is None else int(work.nonzeros.sum())
            self.macs[pc] = used * fields["columns"]
            self.zeros[pc] = (scalars - used) * fields["columns"]
        elif instruction.opcode == Opcode.ATTENTION:
            size = fields["head_dim"] * (1 + fields["further_groups"])
            self.macs[pc] = (work.scored + work.valued) * size
            self.masked[pc] = 2 * work.masked * size
            self.zeros[pc] = work.zero_probs * size

    def fault(self, text: str, code: Error, pc: int) -> MachineError:
        """Build the exception for an instruction."""
        return MachineError(f"pc {pc}: {text}", code, pc)

    def deadlock(self) -> str:
        """Say for each queue what it waits for."""
        parts = []
        for queue in Queue:
            name = f"{queue.name.lower()} queue"
            pc, instruction = self.executing[queue] or (0, None)
            if instruction is not None and instruction.token_wait is not None:
                semaphore = instruction.token_wait
                parts.append(
                    f"{name}: pc {pc} waits for {self.rows(instruction)} {semaphore.name} "
                    f"and has {self.credits[semaphore]}"
                )
            elif self.queues[queue]:
                pc, instruction = self.queues[queue][0]
                missing = sorted(s.name for s in instruction.wait if not self.credits[s])
                parts.append(f"{name}: pc {pc} waits for {', '.join(missing)}")
            else:
                parts.append(f"{name}: empty")
        return f"the program stops at pc {self.pc}: {'; '.join(parts)}"
