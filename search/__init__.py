"""Search over a model's sieves and the machine together: accuracy, cycles, bytes, gates."""

from search.errors import SearchError

__all__ = ["SearchError"]
