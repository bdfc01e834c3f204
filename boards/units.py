"""Which unit of the machine a module belongs to: what area is split by."""

import re
from collections.abc import Iterable

__all__ = ["GLUE", "UNITS", "kept", "unit_of"]

UNITS = {
    "mac_array": ("pe_array",),
    "row_memory": ("row_memory",),
    "token_memory": ("token_memory",),
    "table_memories": ("column_tables", "norm_tables"),
    "epilogue": ("epilogue",),
    "softmax": ("softmax",),
    "layer_norm": ("layer_norm",),
    "token_selector": ("select_tokens", "collected_scores"),
    "effort_gate": ("entropy_gate",),
    "sequencer": (
        "dispatcher",
        "load_queue",
        "array_queue",
        "vector_queue",
        "store_queue",
        "semaphores",
        "vector_issue",
        "controller",
        "stall_monitor",
    ),
    "index_engine": ("index_engine", "walk_sources", "places", "origins"),
    "dma": ("fetcher", "loader", "storer", "read_channel", "write_channel"),
    "host": ("registers", "counters", "run", "errors"),
}
"""Unit: the names its modules have in `rtl_gen.top` and `rtl_gen.core`."""
GLUE = "glue"
"""What is in none of them: the wires and gates between units."""

_UNIT = {module: unit for unit, modules in UNITS.items() for module in modules}
_NUMBER = re.compile(r"(_\d+)?(\$\d+)?$")


def _place(path: str) -> int | None:
    """Index of the first name in a module's path that is a unit's."""
    for index, name in enumerate(path.split(".")):
        if _NUMBER.sub("", name) in _UNIT:
            return index
    return None


def unit_of(path: str) -> str:
    """Unit of a module, by its path in the machine (`sievit_top.core.softmax.exponential`).

    A number at a name's end does not matter: `epilogue_1` is another epilogue.
    """
    index = _place(path)
    return GLUE if index is None else _UNIT[_NUMBER.sub("", path.split(".")[index])]


def kept(modules: Iterable[str]) -> list[str]:
    """Return the modules that are a unit, or a part of one, as a whole: their insides are not."""
    return [path for path in modules if _place(path) == path.count(".")]
