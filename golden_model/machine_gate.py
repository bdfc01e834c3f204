"""GATE: reads class logits from token memory and asks whether they are certain."""

from collections.abc import Mapping

from golden_model.machine_memory import Memories
from golden_model.units.entropy_gate import is_certain

__all__ = ["gate"]


def gate(memory: Memories, f: Mapping[str, int]) -> bool:
    """Whether the program ends here; if not, `memory` is as where a program begins.

    Raises `MachineError` where the logits leave token memory.
    """
    classes = f["classes"]
    words = -(-2 * classes // memory.config.lanes)
    logits = memory.tokens(f["token"], 0, 1, words).reshape(-1).view("<i2")[:classes]
    certain = bool(is_certain(logits, f["multiplier"], f["shift"], f["threshold"]))
    if not certain:
        memory.begin()
    return certain
