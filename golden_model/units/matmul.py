"""Exact integer matrix products through floating-point BLAS, the one place where floats occur."""

import numpy as np
from numpy.typing import NDArray

from golden_model.errors import GoldenError
from spec.formats import ACC

__all__ = ["matmul_exact"]

FLOAT32_EXACT = 1 << 24
"""All integers up to this magnitude, and their sums below it, are exact in float32."""


def matmul_exact(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.int32]:
    """Multiply `a @ b`, every partial sum an integer that the float type holds exactly.

    a : integers [..., rows, K]
    b : integers [..., K, columns]
    result : ACC [..., rows, columns]

    With max|a| * max|b| * K at most 2**24 the product runs in float32, otherwise in float64;
    above ACC's range it raises `GoldenError`.
    """
    depth = a.shape[-1]
    bound = depth * _magnitude(a) * _magnitude(b)
    if bound > ACC.high:
        raise GoldenError(
            f"matmul_exact: K {depth} times the operands' maxima is {bound:,}, "
            f"the accumulator holds {ACC.high:,}"
        )
    kind = np.float32 if bound <= FLOAT32_EXACT else np.float64
    return np.matmul(a.astype(kind), b.astype(kind)).astype(np.int32)


def _magnitude(x: NDArray[np.integer]) -> int:
    if not np.issubdtype(x.dtype, np.integer):
        raise GoldenError(f"matmul_exact: operands must be integers, not {x.dtype}")
    return max(int(x.max()), -int(x.min())) if x.size else 0
