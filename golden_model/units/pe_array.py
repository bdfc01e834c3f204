"""The MAC array's two modes: products added over matrix rows, or over the lanes of each row."""

import numpy as np
from numpy.typing import NDArray

from golden_model.units.matmul import matmul_exact

__all__ = ["accumulate", "reduce"]


def accumulate(scalars: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.int64]:
    """Add up rows, each times its scalar: fully connected layers and P.V.

    scalars : SCALAR [..., K]
    rows : WEIGHT or ACT [K, lanes]
    result : ACC [..., lanes]; exact for every K up to 65,535
    """
    return matmul_exact(np.asarray(scalars), np.asarray(rows)).astype(np.int64)


def reduce(vectors: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.int64]:
    """Multiply stationary vectors with each row: raw attention scores.

    vectors : ACT [..., channels]
    rows : ACT [keys, channels]
    result : ACC [..., keys]
    """
    return matmul_exact(np.asarray(vectors), np.asarray(rows).T).astype(np.int64)
