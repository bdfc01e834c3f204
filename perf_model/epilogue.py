"""The epilogue's timing: `rtl_gen.postproc.epilogue` with its residual reader and result writer."""

from dataclasses import dataclass

from perf_model.timeline import Credits, Port
from rtl_gen.postproc.epilogue import Epilogue as Component
from rtl_gen.postproc.epilogue_lane import EpilogueLane
from spec.config import Config

__all__ = ["Epilogue", "ResultCommand"]


@dataclass(kw_only=True)
class ResultCommand:
    """What the epilogue must know of an array instruction."""

    pc: int
    rows: int
    attention: bool
    results_per_row: int
    """Results of the array in a row: 1, or the words of a head."""
    words_per_result: int
    """Memory words that a result takes."""
    adds: bool
    """Each result is added to a word pair read before."""
    to_rows: bool
    signal: tuple[Credits, ...]
    token_signal: Credits | None


class Epilogue:
    """Stage 0 is the array's waiting result; `valid` has a bit for each stage behind it."""

    def __init__(self, config: Config, reads: Port, token_writes: Port, row_writes: Port) -> None:
        self.groups = config.lanes // config.vector_lanes
        self.eager = self.groups < 3
        self.residual_words = 4 if self.groups >= 3 else 8
        self.banks = config.banks
        self.last = 1 << (EpilogueLane.LAST_STAGE - 1)
        self.mask = 2 * self.last - 1
        self.slots = Component.SLOTS
        self.reads, self.token_writes, self.row_writes = reads, token_writes, row_writes
        self.row_banks: dict[int, int] = {}
        """Bank of each row-memory write."""
        self.bank_patterns: list[tuple[int, int, int, dict[int, int]]] = []
        """Those of rows that were leaped over: start, period, rows of a period, bank by offset."""
        self.ends: dict[int, int] = {}
        """Cycle of each instruction's last write."""
        self.commands: list[ResultCommand] = []
        self.front = self.back = 0
        """Commands whose results are being read, and being written."""
        self.row = self.word = self.group = 0
        self.valid = self.count = 0
        self.fire, self.fires_left = -1, 0
        """The command at the last stage, and how often it will be there."""
        self.collected_words = 1
        self.left = self.write_row = self.write_word = 0
        self.read_row = self.second = self.read_group = 0
        self.received = self.claimed = self.asked = 0
        self.residual_request = False
        self.give_time = -1

    def enter(self, command: ResultCommand) -> None:
        """Take a command, at the end of a cycle in which there was a `slot`."""
        self.commands.append(command)

    @property
    def used(self) -> int:
        """Commands in work."""
        return len(self.commands) - self.back

    def idle_from(self) -> int:
        """The first cycle without anything to do, once no command is left."""
        return self.give_time + 1

    def state(self) -> tuple[int, ...]:
        """Everything but how many rows are left."""
        front_row = self.row
        adds = self.back < len(self.commands) and self.commands[self.back].adds
        return (
            self.valid,
            self.count,
            self.left,
            self.word,
            self.group,
            self.collected_words,
            self.write_word,
            self.second,
            self.read_group,
            self.received,
            self.claimed,
            self.asked,
            len(self.commands) - self.front,
            len(self.commands) - self.back,
            front_row - self.write_row,
            front_row - self.read_row if adds else 0,
            self.residual_request,
        )

    def skip(self, rows: int) -> None:
        """`rows` more rows of the one command in work have gone all the way."""
        command = self.commands[self.back]
        self.row += rows
        self.write_row += rows
        self.fires_left -= rows * command.results_per_row * self.groups
        if command.adds:
            self.read_row += rows

    def step(self, t: int, accumulators: bool, scale: bool) -> tuple[bool, bool]:
        """Cycle t: whether the array's result is taken, and whether its row's scale is.

        accumulators, scale : whether these are there
        """
        commands = self.commands
        entered = len(commands)
        back = self.back
        left = self.left
        results_ready = left == 0 or (self.eager and left == 1)
        # the last stage
        groups = self.groups
        full = self.count == groups
        fires, enable = False, True
        adds = False
        if self.valid & self.last:
            while not self.fires_left:
                self.fire += 1
                command = commands[self.fire]
                self.fires_left = command.rows * command.results_per_row * groups
            command = commands[self.fire]
            adds = command.adds
            fires = enable = (not full or results_ready) and (not adds or self.received >= 2)
        # stage 0
        front, row = self.front, self.row
        present = moves = False
        if accumulators and front < entered:
            now = commands[front]
            present = not now.attention or scale
            moves = present and enable
        # the residual
        self.residual_request = False
        received, claimed = self.received, self.claimed
        if back < entered:
            oldest = commands[back]
            if (
                oldest.adds
                and self.read_row != oldest.rows
                and claimed < self.residual_words
                and (front != back or self.read_row < row or (self.read_row == row and present))
            ):
                self.residual_request = True
        received += self.asked
        if self.residual_request:
            self.reads.cycles.add(t)
            claimed += 1
            self.asked = 1
            if self.second:
                self.read_row += 1
            self.second ^= 1
        else:
            self.asked = 0
        if fires and adds:
            if self.read_group == groups - 1:
                self.read_group = 0
                received -= 2
                claimed -= 2
            else:
                self.read_group += 1
        self.received, self.claimed = received, claimed
        # the words
        if left:
            self._write(t, commands[back])
        if full and results_ready:
            self.left = self.collected_words
            self.count = 0
        if fires:
            self.count += 1
            self.fires_left -= 1
            self.collected_words = commands[self.fire].words_per_result
        if enable:
            self.valid = (self.valid << 1 | present) & self.mask
        # the walk over results
        if not moves:
            return False, False
        if self.group != groups - 1:
            self.group += 1
            return False, False
        self.group = 0
        if self.word != now.results_per_row - 1:
            self.word += 1
            return True, False
        self.word = 0
        self.row += 1
        if self.row == now.rows:
            self.row = 0
            self.front += 1
        return True, now.attention

    def _write(self, t: int, command: ResultCommand) -> None:
        """One word of the oldest command, and the credits that go with it."""
        self.left -= 1
        if command.to_rows:
            self.row_writes.cycles.add(t)
            self.row_banks[t] = self.write_row % self.banks
        else:
            self.token_writes.cycles.add(t)
        self.write_word += 1
        if self.write_word < command.results_per_row * command.words_per_result:
            return
        self.write_word = 0
        self.write_row += 1
        if command.token_signal:
            command.token_signal.gives.append(t + 1)
            self.give_time = t + 1
        if self.write_row == command.rows:
            self.write_row = self.read_row = 0
            self.back += 1
            self.give_time = t + 1
            self.ends[command.pc] = t
            for credits in command.signal:
                credits.gives.append(t + 1)
