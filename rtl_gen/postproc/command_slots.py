"""The commands that are in work, and the one whose turn it is in registers of its own."""

from collections.abc import Callable

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data

from rtl_gen.interfaces import EPILOGUE_COMMAND

__all__ = ["turn_of"]


def turn_of(
    m: Module,
    slots: Array,
    at: Signal,
    *,
    done: Value,
    entered: Value,
    enter: Signal,
    entering: data.View,
    flag_of: Callable[[data.View], Value],
) -> tuple[data.View, Signal]:
    """The command in slot `at`, and a flag, without the choice of a slot: much waits for these.

    slots : EPILOGUE_COMMANDs
    done : `at` moves on to the next slot at the end of this cycle
    entered, enter, entering : a command enters this slot in this cycle
    flag_of : what the flag says of a command
    """
    command, flag = Signal(EPILOGUE_COMMAND, name=f"{at.name}_now"), Signal(name=f"{at.name}_flag")
    following = Signal(EPILOGUE_COMMAND, name=f"{at.name}_next")
    behind = (at + 1)[: len(at)]
    enters_now = ~done | (entered & (enter == behind))
    m.d.comb += following.eq(slots[behind])
    with m.If(done | (entered & (enter == at))):
        m.d.sync += [
            command.eq(Mux(enters_now, entering, following)),
            flag.eq(Mux(enters_now, flag_of(entering), flag_of(following))),
        ]
    return command, flag
