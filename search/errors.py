"""What a search refuses."""

from spec.errors import SievitError

__all__ = ["SearchError"]


class SearchError(SievitError, ValueError):
    """A search that cannot be made, or a study that does not belong to it: says why."""
