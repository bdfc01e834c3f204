"""What became of each layer of a foreign model: taken as it is, folded, or not possible."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from quantize.errors import QuantizeError

__all__ = ["ImportRefusedError", "ImportTable", "Row", "Verdict"]

BLOCK = re.compile(r"(?<=[._])\d+(?=\.)")


class Verdict(StrEnum):
    """What the import does with a layer."""

    SUPPORTED = "supported"
    FOLDED = "folded"
    """Its effect moves, exactly, into the parameters of another layer."""
    DROPPED = "dropped"
    """Not used by inference."""
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class Row:
    """One layer: a parameter's name without `.weight` and `.bias`, or a property of the model."""

    layer: str
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class ImportTable:
    """Rows in the order of the model."""

    rows: tuple[Row, ...]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "ImportTable":
        """Collect rows, each once."""
        return cls(tuple(dict.fromkeys(rows)))

    @property
    def unsupported(self) -> tuple[Row, ...]:
        """The rows that stand in the way."""
        return tuple(row for row in self.rows if row.verdict is Verdict.UNSUPPORTED)

    def brief(self) -> tuple[Row, ...]:
        """Merge the rows that differ only in the number of their block: `blocks.0..11.norm1`."""
        groups: dict[tuple[str, Verdict, str], list[str]] = {}
        for row in self.rows:
            key = (BLOCK.sub("*", row.layer, count=1), row.verdict, row.why)
            groups.setdefault(key, []).append(row.layer)
        return tuple(
            Row(_span(pattern, layers), verdict, why)
            for (pattern, verdict, why), layers in groups.items()
        )

    def require_supported(self, where: str) -> None:
        """Raise `ImportRefusedError` if a row stands in the way."""
        if self.unsupported:
            raise ImportRefusedError(where, self)


class ImportRefusedError(QuantizeError):
    """A model the machine cannot run; `table` says why, layer by layer."""

    def __init__(self, where: str, table: ImportTable) -> None:
        first, *others = ImportTable(table.unsupported).brief()
        more = f" (and {len(others)} more)" if others else ""
        super().__init__(f"{where}: {first.layer}: unsupported: {first.why}{more}")
        self.table = table


def _span(pattern: str, layers: Sequence[str]) -> str:
    numbers = [int(found[0]) for layer in layers if (found := BLOCK.search(layer))]
    if not numbers:
        return layers[0]
    runs: list[str] = []
    for number in sorted(set(numbers)):
        first, _, last = runs[-1].partition("..") if runs else ("", "", "")
        if runs and number == int(last or first) + 1:
            runs[-1] = f"{first}..{number}"
        else:
            runs.append(str(number))
    return pattern.replace("*", ",".join(runs), 1)
