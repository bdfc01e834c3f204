"""The golden model's exception."""

from spec.errors import SievitError

__all__ = ["GoldenError"]


class GoldenError(SievitError, ValueError):
    """Operands that the integer model does not define: says what is needed and what there is."""
