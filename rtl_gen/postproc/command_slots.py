"""The epilogue's commands that are in work, and the two whose turn it is."""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data

from rtl_gen.interfaces import EPILOGUE_COMMAND
from rtl_gen.postproc.result_kind import accumulates, is_partial, is_residual

__all__ = ["CommandSlots", "Turn"]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Whose turn it is, without the choice of a slot: much waits for this.

    command : its command, in which `rows` are those that are left
    flags : what must be known of it at once; all 0 while there is no command
    changes, following : the turn passes at the end of this cycle, to this command
    behind : the command in the slot behind: the one that follows, if it has entered
    """

    command: data.View
    flags: data.View
    changes: Signal
    following: data.View
    behind: data.View


class CommandSlots:
    """Commands enter at `enter`, are read at `front` and written at `back`.

    A stage between these finds its command in `slots`, by the number that goes with its data.

    count : slots, a power of two
    offered : command that enters when `entered`
    column_tables : tables there are

    Members
    -------
    slots, enter, front, back : commands, and numbers of slots
    unread, used : commands that are not wholly read, not wholly written
    row_read, read, row_written, written : driven by the user, in the cycle in which this ends
    now : the turn to be read, with flags bad (it names a table that there is not), partial; and
        attends, accumulates or plain, if it is not bad
    oldest : the turn to be written, with flags adds (residuals), accumulates
    """

    def __init__(
        self,
        m: Module,
        count: int,
        *,
        offered: data.View,
        entered: Value,
        column_tables: int,
    ) -> None:
        self._offered, self._entered, self._column_tables = offered, entered, column_tables
        self.slots = Array(Signal(EPILOGUE_COMMAND, name=f"slot_{n}") for n in range(count))
        self.enter, self.front, self.back = (
            Signal(range(count), name=name) for name in ("enter", "front", "back")
        )
        self.unread, self.used = (
            Signal(range(count + 1), name=name) for name in ("unread", "used")
        )
        self.row_read, self.read, self.row_written, self.written = (
            Signal(name=name) for name in ("row_read", "read", "row_written", "written")
        )
        with m.If(entered):
            m.d.sync += [self.slots[self.enter].eq(offered), self.enter.eq(self.enter + 1)]
        m.d.sync += [
            self.front.eq(self.front + self.read),
            self.back.eq(self.back + self.written),
            self.unread.eq(self.unread + entered - self.read),
            self.used.eq(self.used + entered - self.written),
        ]
        self.now = self._turn(
            m, self.front, self.unread, self.row_read, self.read, self._front_flags
        )
        self.oldest = self._turn(
            m, self.back, self.used, self.row_written, self.written, _back_flags
        )

    def _front_flags(self, command: data.View) -> dict[str, Value]:
        """What the walk over results must know."""
        bad = ~command.attention & (command.table >= self._column_tables)
        return {
            "bad": bad,
            "attends": command.attention,
            "plain": ~command.attention & ~command.accumulate & ~bad,
            "accumulates": accumulates(command) & ~bad,
            "partial": is_partial(command),
        }

    def _turn(
        self,
        m: Module,
        at: Signal,
        filled: Signal,
        row_done: Signal,
        done: Signal,
        flags_of: Callable[[data.View], dict[str, Value]],
    ) -> Turn:
        """The turn of slot `at`, from which on `filled` slots hold commands."""
        command, following, behind = (
            Signal(EPILOGUE_COMMAND, name=f"{at.name}_{name}") for name in ("now", "next", "behind")
        )
        said = flags_of(following)
        flags = Signal(data.StructLayout(dict.fromkeys(said, 1)), name=f"{at.name}_flags")
        changes, enters = Signal(name=f"{at.name}_changes"), Signal(name=f"{at.name}_enters")
        m.d.comb += [
            # While there is no command, whatever is offered is taken: so what moves these many
            # registers does not wait for `entered`.
            changes.eq(done | (filled == 0)),
            enters.eq(filled < 2),
            behind.eq(self.slots[(at + 1)[: len(at)]]),
            following.eq(Mux(enters, self._offered, behind)),
        ]
        with m.If(row_done):
            m.d.sync += command.rows.eq(command.rows - 1)
        with m.If(changes):
            m.d.sync += command.eq(following)
            there = ~enters | self._entered
            m.d.sync += [flags[name].eq(there & flag) for name, flag in said.items()]
        return Turn(
            command=command, flags=flags, changes=changes, following=following, behind=behind
        )


def _back_flags(command: data.View) -> dict[str, Value]:
    """What the readers must know."""
    return {"adds": is_residual(command), "accumulates": accumulates(command)}
