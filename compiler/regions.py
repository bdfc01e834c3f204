"""Regions of token memory, and where they lie."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from compiler.errors import CompileError
from spec.isa import LOAD_TOKENS

__all__ = ["MAX_LOAD_WORDS", "Region", "check_disjoint", "end_of", "place", "rows_of"]

MAX_LOAD_WORDS = (1 << LOAD_TOKENS["words"].width) - 1
"""Of a row that is loaded or stored."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """Rows of `stride` words each in token memory, in use during `phases`."""

    name: str
    rows: int
    stride: int
    phases: frozenset[str]
    base: int = 0

    @property
    def size(self) -> int:
        """Words."""
        return self.rows * self.stride

    @property
    def end(self) -> int:
        """First word behind it."""
        return self.base + self.size


def rows_of(region: Region, first: int, count: int) -> Region:
    """Some rows of a region."""
    return replace(region, base=region.base + first * region.stride, rows=count)


def place(regions: Iterable[Region]) -> dict[str, Region]:
    """First fit, from each region's base on: two share words only if never in use together."""
    placed: dict[str, Region] = {}
    for region in regions:
        base = region.base
        for other in sorted(placed.values(), key=lambda item: item.base):
            if (
                region.phases & other.phases
                and base < other.end
                and other.base < base + region.size
            ):
                base = other.end
        placed[region.name] = replace(region, base=base)
    return placed


def end_of(placed: dict[str, Region]) -> int:
    """First word behind all of them."""
    return max(region.end for region in placed.values())


def check_disjoint(regions: dict[str, Region]) -> None:
    """Raise `CompileError` if two regions in use together share words."""
    for a in regions.values():
        for b in regions.values():
            if a is not b and a.phases & b.phases and a.base < b.end and b.base < a.end:
                raise CompileError(f"internal error: regions {a.name} and {b.name} overlap")
