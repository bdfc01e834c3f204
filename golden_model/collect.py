"""How the intermediate tensors leave the model."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

__all__ = ["Collect", "discard"]

Collect = Callable[[str, NDArray[Any]], None]
"""Called with a tensor's name and its array [n, ...] in the tensor's own dtype."""


def discard(name: str, array: NDArray[Any]) -> None:
    """Collect nothing."""
