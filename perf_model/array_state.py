"""The state of the array and its units as a value: all that their next cycles depend on.

Numbers of rows are not in it: see `perf_model.skip`.
"""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

__all__ = ["restore", "snapshot"]

_NAMES = {
    "array": (
        *("active", "value_word", "operand_left", "credited", "flying", "accumulators"),
        "scores",
    ),
    "sources": ("steps_left", "steps_done"),
    "queries": ("fill", "next_row", "use"),
    "epilogue": (
        *("word", "group", "half", "valid", "count", "collected_words", "left", "write_word"),
        *("second", "read_group", "received", "claimed", "asked", "sums_word", "sums_group"),
        *("sums_received", "sums_claimed", "sums_asked"),
    ),
    "softmax": (
        *("active", "chunk", "taken", "logit_rows", "row_queue", "fetched", "word_valid"),
        *("word_last", "fetch_chunk", "exp_rows", "scaling", "rows", "scales", "prob_free"),
        *("rows_free", "scales_free", "logit_free", "slots_free", "words", "before", "wanted"),
        *("gap", "exp_wanted", "collects", "collect_cycles"),
    ),
}
"""Attributes of the array and its units, by unit."""
_LISTS = {
    "array": ("buffer", "pipe"),
    "sources": ("passes",),
    "queries": ("occupied", "loaded"),
}
_GET = {unit: attrgetter(*names) for unit, names in _NAMES.items()}
_GET_LISTS = {
    unit: attrgetter(*names) if len(names) > 1 else lambda each, name=names[0]: (vars(each)[name],)
    for unit, names in _LISTS.items()
}


def snapshot(units: Mapping[str, Any]) -> tuple:
    """The state of the units, which can be compared and kept."""
    return (
        *(get(units[name]) for name, get in _GET.items()),
        *(tuple(map(tuple, get(units[name]))) for name, get in _GET_LISTS.items()),
    )


def restore(units: Mapping[str, Any], state: tuple) -> None:
    """Put the units into a state."""
    parts = iter(state)
    for unit, names in _NAMES.items():
        vars(units[unit]).update(zip(names, next(parts), strict=True))
    for unit, names in _LISTS.items():
        for name, values in zip(names, next(parts), strict=True):
            setattr(units[unit], name, list(values))
