"""DynaTran's threshold: small values become zero."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["threshold"]


def threshold(x: ArrayLike, limit: int) -> NDArray[np.int64]:
    """Make values 0 whose magnitude is at most `limit` (AccelTran's DynaTran; 0 changes nothing).

    x, result : [...], of any format
    """
    x = np.asarray(x, np.int64)
    return np.where(np.abs(x) <= limit, 0, x) if limit else x
