"""How the intermediate tensors leave the model."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

__all__ = ["Collect", "Watch", "discard"]

Collect = Callable[[str, NDArray[Any]], None]
"""Called with a tensor's name and its array [n, ...] in the tensor's own dtype."""


def discard(name: str, array: NDArray[Any]) -> None:
    """Collect nothing."""


class Watch:
    """Passes everything on and keeps one tensor."""

    def __init__(self, collect: Collect, name: str) -> None:
        self._collect, self._name = collect, name
        self.seen: NDArray[Any]

    def __call__(self, name: str, array: NDArray[Any]) -> None:
        """Collect a tensor."""
        if name == self._name:
            self.seen = array
        self._collect(name, array)
