"""The golden model's exception."""

__all__ = ["GoldenError"]


class GoldenError(ValueError):
    """Operands that the integer model does not define: says what is needed and what there is."""
