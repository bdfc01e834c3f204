"""Clients of token memory, in order of priority: what holds up the array comes first."""

from spec.config import Config

__all__ = [
    "GATE",
    "GROUP_READERS",
    "NORM",
    "OPERAND",
    "PLACE_READERS",
    "SELECT",
    "STORE",
    "reader_number",
    "single_readers",
]

GROUP_READERS = ("residual", "partial")
"""Of these there is one in each head group."""
PLACE_READERS = (*GROUP_READERS, "place_read", "list_read")
OPERAND, NORM, STORE, SELECT, GATE = range(5)
"""Readers behind all of those; not every machine has the last two."""


def single_readers(config: Config) -> list[int]:
    """Those of them that a machine has, in order."""
    optional = [SELECT] * config.token_selector + [GATE] * config.effort_gate
    return [OPERAND, NORM, STORE, *optional]


def reader_number(client: int, config: Config) -> int:
    """Which of them a client is."""
    return single_readers(config).index(client)
