"""The commands that are in work, and the one whose turn it is in registers of its own."""

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
    flags: Signal,
    flag: Value,
) -> tuple[data.View, Signal]:
    """The command in slot `at`, and its flag, without the choice of a slot: much waits for it.

    slots, flags : EPILOGUE_COMMANDs, and a bit for each
    done : `at` moves on to the next slot at the end of this cycle
    entered, enter, entering, flag : a command enters this slot in this cycle
    """
    command, own_flag = Signal(EPILOGUE_COMMAND, name=f"{at.name}_now"), Signal()
    behind = (at + 1)[: len(at)]
    enters_now = ~done | (entered & (enter == behind))
    with m.If(done | (entered & (enter == at))):
        m.d.sync += [
            command.eq(Mux(enters_now, entering, slots[behind])),
            own_flag.eq(Mux(enters_now, flag, flags.bit_select(behind, 1))),
        ]
    return command, own_flag
