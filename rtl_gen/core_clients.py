"""Clients of token memory, in order of priority: what holds up the array comes first."""

__all__ = ["GROUP_READERS", "NORM", "OPERAND", "PLACE_READERS", "SELECT", "STORE"]

GROUP_READERS = ("residual", "partial")
"""Of these there is one in each head group."""
PLACE_READERS = (*GROUP_READERS, "place_read", "list_read")
OPERAND, NORM, STORE, SELECT = range(4)
"""Readers behind all of those."""
