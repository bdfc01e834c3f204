"""How a program, or a part of it, ends: HALT, or GATE and the gate unit's answer."""

from typing import TYPE_CHECKING

from amaranth.hdl import Const, Module, Mux, Signal, Value

from rtl_gen.effort_gate.entropy_gate import EntropyGate
from spec.config import Config

if TYPE_CHECKING:
    from rtl_gen.core import Core

__all__ = ["build_gate", "connect_end"]


def build_gate(m: Module, core: "Core", config: Config) -> None:
    """Make `core.entropy_gate`."""
    core.entropy_gate = EntropyGate(lanes=config.lanes, logic_multipliers=config.logic_multipliers)
    m.submodules.entropy_gate = core.entropy_gate


def connect_end(m: Module, core: "Core", at_rest: Value) -> None:
    """Say when the program ends, and when its next part begins.

    at_rest : GATE or HALT has been reached, all before it is done, and no error has been found
    """
    restarts: Value = Const(0, 1)
    if core.gates:
        gate, dispatcher = core.entropy_gate, core.dispatcher
        asked = Signal()
        m.d.comb += [
            gate.start.eq(at_rest & dispatcher.gated & ~asked),
            gate.fields.eq(dispatcher.gate),
            core.finished.eq(at_rest & (~dispatcher.gated | (gate.done & gate.certain))),
        ]
        m.d.sync += core.restart.eq(at_rest & gate.done & ~gate.certain)
        with m.If(gate.start):
            m.d.sync += asked.eq(1)
        restarts = core.restart
    else:
        m.d.comb += core.finished.eq(at_rest)
    ended = Signal()
    m.d.comb += [
        ended.eq(core.finished | restarts),
        core.events.efforts.eq(ended),
        core.events.attentions_skipped.eq(Mux(ended, core.dispatcher.skipped, 0)),
    ]
