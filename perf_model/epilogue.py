"""The epilogue's timing: `rtl_gen.postproc.epilogue` with its residual reader and result writer."""

from bisect import bisect_right
from dataclasses import dataclass

from perf_model.place_reader import PlaceReader
from perf_model.timeline import Credits, Port
from rtl_gen.postproc.epilogue import Epilogue as Component
from rtl_gen.postproc.epilogue_lane import EpilogueLane
from spec.config import Config
from spec.formats import ACC
from spec.isa import PARTIAL_WORDS

__all__ = ["Epilogue", "ResultCommand"]


SUM_BYTES = ACC.bits // 8


@dataclass(kw_only=True)
class ResultCommand:
    """What the epilogue must know of an array instruction."""

    pc: int
    rows: int
    attention: bool
    results_per_row: int
    """Results of the array in a row: 1, or the words of a head."""
    halves: int
    """How often a result goes the whole way: twice if its sums are kept."""
    words_per_half: int
    """Memory words that a result takes each time."""
    adds: bool
    """Each result is added to a word pair read before."""
    accumulates: bool
    """Sums that were kept are added to each result."""
    to_rows: bool
    placed: bool = False
    banks: list[int] | None = None
    """Where its rows go, if they are placed; -1: to all banks."""
    signal: tuple[Credits, ...]
    token_signal: Credits | None
    kind: int = -1
    """A number that equal commands share; set by `perf_model.skip`."""


class Epilogue:
    """Stage 0 is the array's waiting result; `valid` has a bit for each stage behind it."""

    def __init__(self, config: Config, reads: Port, token_writes: Port, row_writes: Port) -> None:
        self.groups = config.lanes // config.vector_lanes
        self.eager = self.groups < 3
        self.residual_words = 4 if self.groups >= 3 else 8
        self.banks = config.banks
        # kept sums: a unit is as many words as hold whole groups
        self.unit_words = max(1, config.vector_lanes * SUM_BYTES // config.lanes)
        self.unit_groups = self.unit_words * config.lanes // (config.vector_lanes * SUM_BYTES)
        self.last = 1 << (EpilogueLane.LAST_STAGE - 1)
        self.mask = 2 * self.last - 1
        self.slots = Component.SLOTS
        self.reads, self.token_writes, self.row_writes = reads, token_writes, row_writes
        self.row_places: dict[int, tuple[int, int]] = {}
        """Cycle of each row-memory write: its command and row."""
        self.row_starts: list[int] = []
        self.row_patterns: list[tuple[int, int, dict[int, int]]] = []
        """Those that were not walked, by their first cycles (see `add_rows`)."""
        self.events: list[tuple[int, int, bool]] = []
        """Each row's last write: cycle, command, and whether it was the command's last row."""
        self.ends: dict[int, int] = {}
        """Cycle of each instruction's last write."""
        self.commands: list[ResultCommand] = []
        self.front = self.back = 0
        """Commands whose results are being read, and being written."""
        self.row = self.word = self.group = self.half = 0
        self.valid = self.count = 0
        self.fire, self.fires_left = -1, 0
        """The command at the last stage, and how often it will be there."""
        self.collected_words = 1
        self.left = self.write_row = self.write_word = 0
        self.read_row = self.second = self.read_group = 0
        self.received = self.claimed = self.asked = 0
        self.sums_row = self.sums_word = self.sums_group = 0
        self.sums_received = self.sums_claimed = self.sums_asked = 0
        self.denies = False
        """Whether the operand reader must wait in this cycle."""
        self.give_time = -1
        self.places = PlaceReader(config)
        self.place_read = self.place_used = False
        """In this cycle: its word, and the place of the row that is written."""

    @property
    def asks_origin(self) -> bool:
        """Whether the place reader asks for the token of a row."""
        return self.places.wants_origin

    @property
    def placing(self) -> bool:
        """Whether places are on their way."""
        return self.places.busy

    def step_places(self, command: ResultCommand | None) -> None:
        """The end of a cycle for the place reader; `command`: that has entered, if any has."""
        rows = command.rows if command is not None and command.placed else 0
        self.places.step(self.place_read, self.places.wants_origin, self.place_used, rows)
        self.place_read = self.place_used = False

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
        """What changes whenever anything moves."""
        return (
            self.valid,
            self.count,
            self.left,
            self.word,
            self.group,
            self.half,
            self.collected_words,
            self.write_word,
            self.write_row,
            self.row,
            self.read_row,
            self.second,
            self.read_group,
            self.received,
            self.claimed,
            self.asked,
            self.sums_row,
            self.sums_word,
            self.sums_group,
            self.sums_received,
            self.sums_claimed,
            self.sums_asked,
            self.front,
            self.back,
            self.places.state() if self.places.busy else (),
        )

    def fires_of(self, command: ResultCommand) -> int:
        """How often a command is at the last stage."""
        return command.rows * command.results_per_row * command.halves * self.groups

    def add_rows(self, start: int, period: int, rows: int, first: dict[int, int]) -> None:
        """Row writes that are repeated: their cycles, and the row of each in the first period."""
        self.row_starts.append(start)
        self.row_patterns.append((period, rows, first))

    def bank(self, t: int) -> int:
        """The bank of the row write of cycle t; -1: all banks."""
        place = self.row_places.get(t)
        if place is not None:
            banks = self.commands[place[0]].banks
            if banks is not None:
                return banks[place[1]]
            return place[1] % self.banks
        number = bisect_right(self.row_starts, t) - 1
        period, rows, first = self.row_patterns[number]
        times, offset = divmod(t - self.row_starts[number], period)
        return (first[offset] + times * rows) % self.banks

    def step(self, t: int, accumulators: bool, scale: bool) -> tuple[bool, bool]:
        """Cycle t: whether the array's result is taken, and whether its row's scale is.

        accumulators, scale : whether these are there
        """
        commands = self.commands
        entered = len(commands)
        back = self.back
        left = self.left
        placed = back < entered and commands[back].placed
        writes = left and (not placed or self.places.places)
        results_ready = left == 0 or (self.eager and left == 1 and bool(writes))
        # the last stage
        groups = self.groups
        full = self.count == groups
        fires, enable = False, True
        adds = False
        if self.valid & self.last:
            while not self.fires_left:
                self.fire += 1
                command = commands[self.fire]
                self.fires_left = self.fires_of(command)
            command = commands[self.fire]
            adds = command.adds
            fires = enable = (not full or results_ready) and (not adds or self.received >= 2)
        # stage 0
        front, row = self.front, self.row
        present = moves = False
        if accumulators and front < entered:
            now = commands[front]
            present = not now.attention or scale
            if now.accumulates:
                present = front == back and self.sums_received >= self.unit_words
            moves = present and enable
        # the residual
        wanted = False
        received, claimed = self.received, self.claimed
        if back < entered:
            oldest = commands[back]
            if (
                oldest.adds
                and self.read_row != oldest.rows
                and claimed < self.residual_words
                and (front != back or self.read_row < row or (self.read_row == row and present))
            ):
                wanted = True
        received += self.asked
        if wanted:
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
        self.denies = wanted
        if back < entered and commands[back].accumulates:
            used = moves and front == back
            self.denies = self._read_sums(t, commands[back], wanted, used)
        if self.places.wants_word:
            self.place_read = not self.denies
            if self.place_read:
                self.reads.cycles.add(t)
            self.denies = True
        # the words
        if writes:
            self.place_used = placed
            self._write(t, commands[back])
        if full and results_ready:
            self.left = self.collected_words
            self.count = 0
        if fires:
            self.count += 1
            self.fires_left -= 1
            self.collected_words = commands[self.fire].words_per_half
        if enable:
            self.valid = (self.valid << 1 | present) & self.mask
        # the walk over results
        if not moves:
            return False, False
        if self.half != now.halves - 1:
            self.half += 1
            return False, False
        self.half = 0
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

    def _read_sums(self, t: int, command: ResultCommand, denied: bool, used: bool) -> bool:
        """A cycle of the reader of kept sums; whether the read port is taken."""
        self.sums_received += self.sums_asked
        wanted = self.sums_row != command.rows and self.sums_claimed != 2 * self.unit_words
        asked = wanted and not denied
        if asked:
            self.reads.cycles.add(t)
            self.sums_claimed += 1
            self.sums_word += 1
            if self.sums_word == PARTIAL_WORDS:
                self.sums_word = 0
                self.sums_row += 1
        self.sums_asked = int(asked)
        if used and self.half == command.halves - 1:
            self.sums_group += 1
            if self.sums_group == self.unit_groups:
                self.sums_group = 0
                self.sums_received -= self.unit_words
                self.sums_claimed -= self.unit_words
        return wanted or denied

    def _write(self, t: int, command: ResultCommand) -> None:
        """One word of the oldest command, and the credits that go with it."""
        self.left -= 1
        if command.to_rows:
            self.row_writes.cycles.add(t)
            self.row_places[t] = (self.back, self.write_row)
        else:
            self.token_writes.cycles.add(t)
        self.write_word += 1
        if self.write_word < command.results_per_row * command.halves * command.words_per_half:
            return
        self.write_word = 0
        self.write_row += 1
        done = self.write_row == command.rows
        self.events.append((t, self.back, done))
        self.row_done(t, command, done)
        if done:
            self.write_row = self.read_row = self.sums_row = 0
            self.back += 1

    def row_done(self, t: int, command: ResultCommand, last: bool) -> None:
        """The last word of a row has been written in cycle t: its credits."""
        if command.token_signal:
            command.token_signal.gives.append(t + 1)
            self.give_time = t + 1
        if last:
            self.give_time = t + 1
            self.ends[command.pc] = t
            for credits in command.signal:
                credits.gives.append(t + 1)
