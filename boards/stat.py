"""What Yosys' `stat -json` says: cells of every module, by type."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["cells_by_module"]

SCOPE = "$scopeinfo"


def cells_by_module(
    report: Mapping[str, Any], *, ignored: Sequence[str] = ()
) -> dict[str, dict[str, int]]:
    """Cells by module and type; instances of the report's own modules are no cells.

    Neither is `$scopeinfo`, which says where the cells of a flattened module came from.

    ignored : types that are left out
    """
    modules = {name.removeprefix("\\"): module for name, module in report["modules"].items()}
    return {
        name: {
            cell: count
            for cell, count in module["num_cells_by_type"].items()
            if cell not in modules and cell not in (SCOPE, *ignored)
        }
        for name, module in modules.items()
    }
