"""The compiler's exception, and the one form of its messages."""

from spec.config import Config
from spec.errors import SievitError

__all__ = ["CompileError", "need"]


class CompileError(SievitError, ValueError):
    """A model that does not fit a machine: where, needed, available, which knob."""


def need(
    where: str, needed: int, what: str, available: int, knob: str, config: Config | None = None
) -> None:
    """Raise `CompileError` unless `needed` is at most `available`.

    Without `config` it is a limit of the instruction set and not of a machine.
    """
    if needed > available:
        owner = f"preset '{config.name}'" if config else "the instruction set"
        raise CompileError(f"{where}: needs {needed:,} {what}, {owner} has {available:,} ({knob})")
