"""From a synthesis tool's cells to what they take of a chip."""

from collections import Counter
from collections.abc import Collection, Mapping

from boards.errors import SynthesisError

__all__ = ["used"]


def used(
    modules: Mapping[str, Mapping[str, int]],
    takes: Mapping[str, tuple[str, float]],
    free: Collection[str] = (),
) -> dict[str, float]:
    """Sum up cells (by module and type) to resources: all those named in `takes`, in its order.

    takes : cell: the resource it takes, and how much of it
    free : cells that take nothing

    A cell in neither is a `SynthesisError`: nothing counts as nothing by mistake.
    """
    total = Counter()
    for counted in modules.values():
        total.update(counted)
    strange = sorted(cell for cell in total if cell not in takes and cell not in free)
    if strange:
        raise SynthesisError(f"cells of unknown size: {', '.join(strange)}")
    result = {resource: 0.0 for resource, _ in takes.values()}
    for cell, count in total.items():
        if cell in takes:
            resource, amount = takes[cell]
            result[resource] += count * amount
    return {
        name: int(amount) if amount == int(amount) else amount for name, amount in result.items()
    }
