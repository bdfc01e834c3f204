"""Efforts of a model: blocks that skip attention, and when a picture needs no more (PIVOT)."""

from collections.abc import Sequence
from dataclasses import dataclass

from spec.errors import SievitError
from spec.formats import GATE

__all__ = ["MAX_EFFORTS", "Effort", "EffortError", "check_efforts", "plain_name", "tensor_prefix"]

MAX_EFFORTS = 3


class EffortError(SievitError, ValueError):
    """Efforts that no model can have: says which and why."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """One pass of the network over a picture."""

    skipped: tuple[int, ...] = ()
    """Encoder blocks without attention: neither norm1 nor its residual; `x + mlp(norm2(x))` is
    left. Ascending."""
    threshold: int = 0
    """Entropy of the logits, in units of 2**-10 bit, up to which the picture needs no more effort.
    0 in the last effort, which always ends."""


def tensor_prefix(number: int, count: int) -> str:
    """Before the names of the tensors of effort `number` of `count`: nothing if there is one."""
    return f"efforts.{number}." if count > 1 else ""


def plain_name(name: str) -> str:
    """A tensor's name without the prefix of its effort."""
    return name.split(".", 2)[2] if name.startswith("efforts.") else name


def check_efforts(efforts: Sequence[Effort], depth: int) -> None:
    """Refuse what is no list of efforts of a model of `depth` blocks."""
    if len(efforts) > MAX_EFFORTS:
        raise EffortError(f"efforts must be at most {MAX_EFFORTS}, not {len(efforts)}")
    for number, effort in enumerate(efforts):
        where, skipped, threshold = f"efforts[{number}]", effort.skipped, effort.threshold
        if not all(type(block) is int and 0 <= block < depth for block in skipped) or list(
            skipped
        ) != sorted(set(skipped)):
            raise EffortError(
                f"{where}: skipped must hold blocks in 0..{depth - 1}, ascending, "
                f"not {list(skipped)}"
            )
        if type(threshold) is not int or not 0 <= threshold <= GATE.max_threshold:
            raise EffortError(
                f"{where}: threshold must be an integer in 0..{GATE.max_threshold}, "
                f"not {threshold!r}"
            )
    if efforts and efforts[-1].threshold:
        raise EffortError(
            f"efforts[{len(efforts) - 1}]: threshold must be 0, the last effort always ends, "
            f"not {efforts[-1].threshold}"
        )
