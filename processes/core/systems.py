"""Small systems of equations in compiled code, without the BLAS that numpy's would load."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@njit(cache=True, nogil=True, error_model="numpy")
def solved(normal: Floats, right: Floats) -> bool:
    """Solve a symmetric system in place by Cholesky's method; return whether it has a solution."""
    n = right.size
    for i in range(n):
        for k in range(i + 1):
            total = normal[i, k]
            for m in range(k):
                total -= normal[i, m] * normal[k, m]
            if i != k:
                normal[i, k] = total / normal[k, k]
            elif total > 1e-12 * normal[i, i]:
                normal[i, i] = np.sqrt(total)
            else:
                return False
        for m in range(i):
            right[i] -= normal[i, m] * right[m]
        right[i] /= normal[i, i]
    for i in range(n - 1, -1, -1):
        for m in range(i + 1, n):
            right[i] -= normal[m, i] * right[m]
        right[i] /= normal[i, i]
    return True
